-- tidy: ended → dead letter | –
-- One bounded step of what time and clearing leave behind: records and dead letters older than retention says, dead
-- letters beyond their number, and the trash of `clear`. The policy's bounds for dead letters are noted for `evict`.
--
-- KEYS  1 root
-- ARGV  1 time  2 records (of each kind) to take at most  3 completed, 4 failed and 5 cancelled: ms that a record is kept,
--       '' for ever  6 dead letters to keep  7 ms that a dead letter is kept, '' for ever
-- Returns {more, completed, failed, cancelled, dead, trash}: how many of each were taken; more is 1 where a step is left.
-- include: root places events limits moves endings
local limit, more = tonumber(ARGV[2]), 0
for _, name in ipairs({'completed', 'failed', 'cancelled', 'dead', 'trash:delayed', 'trash:parked'}) do
  redis.call('ZCARD', root .. name)
end
for _, name in ipairs({'ended', 'buried', 'joined', 'index', 'notes', 'trash:ended', 'trash:notes'}) do
  redis.call('HLEN', root .. name)
end
local known = redis.call('HGET', root .. 'meta', 'dead_keep') or dead_default
redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts; after it nothing here is refused
if known ~= ARGV[6] then redis.call('HSET', root .. 'meta', 'dead_keep', ARGV[6]) end

-- The oldest of a list whose records (in `hash`) say that they ended before `before`.
local function outdated(list, hash, before)
  local ids, old = redis.call('ZRANGE', root .. list, 0, limit - 1), 0
  for first = 1, #ids, 25 do
    local part = {unpack(ids, first, math.min(first + 24, #ids))}
    for i, record in ipairs(redis.call('HMGET', root .. hash, unpack(part))) do
      local ended = record and string.match(record, '"finished_ms":(%d+)')
      if ended and tonumber(ended) > before then return {unpack(ids, 1, old)} end
      old = first + i - 1
    end
  end
  if old == limit then more = 1 end
  return ids
end

local taken = {}
for i, state in ipairs({'completed', 'failed', 'cancelled'}) do
  local age, ids = ARGV[i + 2], {}
  if age ~= '' then
    ids = outdated(state, 'ended', now - age)
    if #ids > 0 then drop_oldest(state, #ids) end
  end
  taken[i] = #ids
end

local over = math.min(math.max(0, redis.call('ZCARD', root .. 'dead') - ARGV[6]), limit)
if over == limit then more = 1 end
drop_dead(over)
local dead = over
if ARGV[7] ~= '' then
  local ids = outdated('dead', 'buried', now - ARGV[7])
  drop_dead(#ids)
  dead = dead + #ids
end

-- True where a job of that id has a body beside the streams again.
local function kept_again(id)
  local place = string.match(redis.call('HGET', root .. 'index', id) or '', '^%S+')
  return place == 'delayed' or place == 'blocked' or place == 'parked' or place == 'keyed'
end

local trash = 0
for _, name in ipairs({'delayed', 'parked'}) do
  local members = redis.call('ZRANGE', root .. 'trash:' .. name, 0, limit - 1)
  for _, member in ipairs(members) do
    local id = name == 'delayed' and string.sub(member, 17) or string.match(member, '^%S+ %d+ (.*)$')
    if id and not kept_again(id) then redis.call('DEL', root .. 'job:' .. id) end
  end
  if #members > 0 then redis.call('ZREMRANGEBYRANK', root .. 'trash:' .. name, 0, #members - 1) end
  if #members == limit then more = 1 end
  trash = trash + #members
end
for _, name in ipairs({'ended', 'notes'}) do
  -- No HSCAN: from its beginning it finds nothing where the first of many buckets are empty already.
  for _, id in ipairs(redis.call('HRANDFIELD', root .. 'trash:' .. name, limit)) do
    if name == 'notes' then
      if redis.call('HEXISTS', root .. 'notes', id) == 0 then redis.call('DEL', root .. 'log:' .. id) end
    elseif redis.call('HEXISTS', root .. 'index', id) == 0 and redis.call('HEXISTS', root .. 'ended', id) == 0 then
      redis.call('DEL', root .. 'result:' .. id)
    end
    redis.call('HDEL', root .. 'trash:' .. name, id)
    trash = trash + 1
  end
  if redis.call('EXISTS', root .. 'trash:' .. name) == 1 then more = 1 end
end
return {more, taken[1], taken[2], taken[3], dead, trash}
