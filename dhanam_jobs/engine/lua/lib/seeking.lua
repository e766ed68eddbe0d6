-- Reading a sorted set from where an earlier page ended, whatever was added or taken away since. Needs root.

-- Redis's own order of members: by bytes, where Lua's `<` would go by the server's locale.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- How many elements come before (score, member), and with `through` that one itself.
local function rank_of(key, score, member, through)
  local rank = redis.call('ZRANK', key, member)
  if rank and tonumber(redis.call('ZSCORE', key, member)) == score then return through and rank + 1 or rank end
  local low, high = 0, redis.call('ZCARD', key)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local found = redis.call('ZRANGE', key, middle, middle, 'WITHSCORES')
    local other = tonumber(found[2])
    if other < score or (other == score and before(found[1], member)) then low = middle + 1 else high = middle end
  end
  return low
end

-- At most `count` members and scores behind `cursor` ('<score> <member>', '' for the beginning); newest first where
-- `reverse`.
local function read_on(key, cursor, count, reverse)
  local first = 0
  if cursor ~= '' then
    local score, member = string.match(cursor, '^(%S+) (.*)$')
    local rank = rank_of(key, tonumber(score), member, not reverse)
    first = reverse and redis.call('ZCARD', key) - rank or rank
  end
  return redis.call(reverse and 'ZREVRANGE' or 'ZRANGE', key, first, first + count - 1, 'WITHSCORES')
end
