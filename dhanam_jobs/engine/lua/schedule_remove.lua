-- schedule_remove: – (nothing moves)
-- Takes a schedule away. Its runs go on to their end.
--
-- KEYS  1 root
-- ARGV  1 time  2 name  3 owner that it must belong to, or '' for any
-- Returns 1, or 0 where there is none (of that owner).
-- include: root
local row = root .. 'schedule:' .. ARGV[2]
if ARGV[3] ~= '' and redis.call('HGET', row, 'owner') ~= ARGV[3] then return 0 end
local listed = redis.call('ZREM', root .. 'schedules', ARGV[2])
return math.max(listed, redis.call('DEL', row))
