-- message: – (nothing moves)
-- Puts a message into the inbox of a living worker.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 message, JSON
-- Returns 1, or 0 where there is no such worker.
-- include: root
if not redis.call('ZSCORE', root .. 'workers', ARGV[2]) then return 0 end
redis.call('RPUSH', root .. 'inbox:' .. ARGV[2], ARGV[3])
redis.call('LTRIM', root .. 'inbox:' .. ARGV[2], -1000, -1)
return 1
