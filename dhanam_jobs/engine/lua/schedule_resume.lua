-- schedule_resume: – (nothing moves)
-- Ends a schedule's pause. Its next fire is the first one from now on: `resumed_ms` tells the ticking process so.
--
-- KEYS  1 root
-- ARGV  1 time  2 name
-- Returns 1, 0 where it was not paused, or -1 where there is no such schedule.
-- include: root
local row = root .. 'schedule:' .. ARGV[2]
local found = redis.call('HMGET', row, 'revision', 'paused_ms', 'next_ms')
if not found[1] then return -1 end
redis.call('ZCARD', root .. 'schedules')
if not found[2] then return 0 end
redis.call('HSET', row, 'resumed_ms', string.format('%d', now))
redis.call('HDEL', row, 'paused_ms')
local next_ms = found[3] or ''
redis.call('ZADD', root .. 'schedules', next_ms == '' and 'inf' or next_ms, ARGV[2])
return 1
