-- limit: – (nothing moves)
-- Sets, changes or ends a limit; then, called again, looks at the keys that it may let go or stop, in bounded steps.
--
-- KEYS  1 root
-- ARGV  1 time  2 what: queue (all jobs of the queue), keys (each key without a limit of its own), key (one key), next (a
--       further step)  3 the key, the cursor of a further step, or ''  4 concurrency  5 starts  6 period (ms) of the
--       limit, 0 for what isn't limited; all 0 end a limit, and '' leave it and end what was told of the queue or the
--       key (`Limited`)
-- Returns {cursor, before}: '0' where no further step is needed; the limit before, as '<concurrency> <starts> <period>',
-- or ''.
-- include: root places events limits
local what, about = ARGV[2], ARGV[3]
redis.call('ZCARD', root .. 'bell')
redis.call('ZCARD', root .. 'turns')
redis.call('ZCARD', root .. 'resting')
redis.call('HLEN', root .. 'running')
redis.call('HLEN', root .. 'limits')
local text = ARGV[4] ~= '' and table.concat({ARGV[4], ARGV[5], ARGV[6]}, ' ')
local before, cursor = '', '0'
if what == 'next' then
  redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts
  local step = redis.call('HSCAN', root .. 'running', about, 'COUNT', 100)
  cursor = step[1]
  for i = 1, #step[2], 2 do refresh(step[2][i]) end
elseif what == 'queue' then
  before = redis.call('HGET', root .. 'meta', 'limit') or ''
  redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses
  if not text then
    redis.call('HDEL', root .. 'meta', 'limited_until')
  elseif text == '0 0 0' then
    redis.call('HDEL', root .. 'meta', 'limit')
    redis.call('DEL', root .. 'starts')
  else
    redis.call('HSET', root .. 'meta', 'limit', text)
  end
else
  local field = what == 'key' and 'key:' .. about or 'keys'
  before = redis.call('HGET', root .. 'limits', field) or ''
  redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses
  if not text then
    redis.call('DEL', root .. 'limited:' .. about)
  elseif text == '0 0 0' then
    redis.call('HDEL', root .. 'limits', field)
  else
    redis.call('HSET', root .. 'limits', field, text)
  end
  if what == 'key' then
    refresh(about)
  else
    -- Whoever rests is looked at by the next claim; whoever waits for one that runs, by further steps.
    local resting = redis.call('ZRANGE', root .. 'resting', 0, -1)
    for first = 1, #resting, 1000 do
      local members = {}
      for i = first, math.min(first + 999, #resting) do
        members[#members + 1] = 1
        members[#members + 1] = resting[i]
      end
      redis.call('ZADD', root .. 'resting', 'XX', unpack(members))
    end
    local step = redis.call('HSCAN', root .. 'running', 0, 'COUNT', 100)
    cursor = step[1]
    for i = 1, #step[2], 2 do refresh(step[2][i]) end
  end
end
ring()
return {cursor, before}
