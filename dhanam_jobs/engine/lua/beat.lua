-- beat: – (nothing moves)
-- Renews a worker's lease.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 what it is doing, JSON
-- Returns 1, or 0 where the worker has no row: it was declared dead and must come back under a new name.
-- include: root
local row = root .. 'worker:' .. ARGV[2]
if not redis.call('ZSCORE', root .. 'workers', ARGV[2]) or redis.call('HEXISTS', row, 'call') == 0 then return 0 end
redis.call('ZREM', root .. 'workers', '') -- a write that a full Redis accepts
redis.call('ZADD', root .. 'workers', now, ARGV[2])
redis.call('HSET', row, 'doing', ARGV[3])
return 1
