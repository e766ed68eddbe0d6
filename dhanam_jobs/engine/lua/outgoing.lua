-- outgoing: – (nothing moves)
-- What other queues are to be told: children to store, ends of children to hand to their parents, children whose parent
-- lets them go. It stays until `sent` says that it was done. Mending takes one bounded step through what families left
-- behind: the end of a child that is gone without having told of it, and the families of parents that are gone.
--
-- KEYS  1 root
-- ARGV  1 time  2 of each kind at most  3 '1' to mend
-- Returns {planned, ends, felled, more}: the first three flat lists of name and value, picked at random where there are
-- more, of about 4 MB together; more is 1 where some were left out.
-- include: root places events limits moves finding endings
local limit = ARGV[2]
for _, name in ipairs({'planned', 'handover', 'felled', 'parents', 'families'}) do redis.call('HLEN', root .. name) end

local function is_live(id)
  local state = find(id)
  return state ~= nil and state ~= 'ended'
end

if ARGV[3] == '1' and (has_parents or has_families) then
  local cursors = redis.call('HMGET', root .. 'meta', 'mend_parents', 'mend_families')
  if has_parents then
    local step = redis.call('HSCAN', root .. 'parents', cursors[1] or '0', 'COUNT', limit)
    redis.call('HSET', root .. 'meta', 'mend_parents', step[1])
    for i = 1, #step[2], 2 do
      local id = step[2][i]
      local state, record = find(id)
      if state == 'ended' then hand_over({id}, {record}) elseif not state then hand_over({id}, {removed_record(id)}) end
    end
  end
  if has_families then
    local step = redis.call('HSCAN', root .. 'families', cursors[2] or '0', 'COUNT', limit)
    redis.call('HSET', root .. 'meta', 'mend_families', step[1])
    for i = 1, #step[2], 2 do
      if not string.find(step[2][i], ' ', 1, true) and not is_live(step[2][i]) then forget_families({step[2][i]}) end
    end
  end
end

local size, more = 0, 0

local function pick(what)
  local names, picked = redis.call('HRANDFIELD', root .. what, limit), {}
  if redis.call('HLEN', root .. what) > #names then more = 1 end
  for _, name in ipairs(names) do
    if size > 4000000 then
      more = 1
      break
    end
    local value = redis.call('HGET', root .. what, name)
    size = size + #value
    picked[#picked + 1] = name
    picked[#picked + 1] = value
  end
  return picked
end

local planned, kept = pick('planned'), {}
for i = 1, #planned, 2 do
  local id, key = string.match(planned[i], '^(%S+) (%S+)$')
  if id and redis.call('HEXISTS', root .. 'children:' .. id, key) == 1 then
    kept[#kept + 1] = planned[i]
    kept[#kept + 1] = planned[i + 1]
  else
    redis.call('HDEL', root .. 'planned', planned[i]) -- its parent has ended before it was stored
  end
end
local ends = pick('handover')
return {kept, ends, pick('felled'), more}
