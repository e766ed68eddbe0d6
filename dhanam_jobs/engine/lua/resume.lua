-- resume: – (nothing moves)
-- Ends a pause and rings for a worker.
--
-- KEYS  1 root
-- ARGV  1 time
-- Returns 1, or 0 where it was not paused.
-- include: root events
redis.call('XLEN', root .. 'events')
redis.call('ZCARD', root .. 'bell')
local changed = redis.call('HDEL', root .. 'meta', 'paused')
if changed == 1 then
  tell(1, 'resumed', '')
  ring()
end
return changed
