-- register: – (nothing moves)
-- Makes a worker's row. A worker registers before its first claim, under a name that was never used before.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 about it, JSON
-- Returns 1, or 0 where the name is taken.
-- include: root
local row = root .. 'worker:' .. ARGV[2]
if redis.call('EXISTS', row) == 1 then return 0 end
redis.call('ZREM', root .. 'workers', '') -- a write that a full Redis accepts
redis.call('ZADD', root .. 'workers', now, ARGV[2])
redis.call('HSET', row, 'call', 0, 'verdicts', '', 'started_ms', now, 'about', ARGV[3])
return 1
