-- schedule_pause: – (nothing moves)
-- The schedule starts no runs until it is resumed; those started go on. What falls due meanwhile is not made up for.
--
-- KEYS  1 root
-- ARGV  1 time  2 name
-- Returns 1, 0 where it was paused already, or -1 where there is no such schedule.
-- include: root
local row = root .. 'schedule:' .. ARGV[2]
if not redis.call('HGET', row, 'revision') then return -1 end
redis.call('ZCARD', root .. 'schedules')
if redis.call('HSETNX', row, 'paused_ms', string.format('%d', now)) == 0 then return 0 end
redis.call('ZADD', root .. 'schedules', 'inf', ARGV[2])
return 1
