-- pause: – (nothing moves)
-- Nothing of this queue is claimed any more, by any worker, until resume. Running jobs end, delayed ones still become
-- waiting. Survives restarts.
--
-- KEYS  1 root
-- ARGV  1 time
-- Returns 1, or 0 where it was paused already.
-- include: root events
redis.call('XLEN', root .. 'events')
local changed = redis.call('HSETNX', root .. 'meta', 'paused', string.format('%d', now))
if changed == 1 then tell(1, 'paused', '') end
return changed
