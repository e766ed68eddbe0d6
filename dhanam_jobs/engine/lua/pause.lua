-- pause: – (nothing moves)
-- Nothing of this queue is claimed any more, by any worker, until resume. Running jobs end, delayed ones still become
-- waiting. Workers that hold more than they run (prefetch) are told to let it go. Survives restarts.
--
-- KEYS  1 root
-- ARGV  1 time
-- Returns 1, or 0 where it was paused already.
-- include: root events
redis.call('XLEN', root .. 'events')
local changed = redis.call('HSETNX', root .. 'meta', 'paused', string.format('%d', now))
if changed == 1 then
  tell(1, 'paused', '')
  local workers = redis.pcall('ZRANGE', root .. 'workers', 0, -1)
  for _, worker in ipairs(workers) do
    local about = redis.pcall('HGET', root .. 'worker:' .. worker, 'about')
    if type(about) == 'string' and string.find(about, '"prefetch":[1-9]') then
      redis.pcall('RPUSH', root .. 'inbox:' .. worker, '{"release":true}')
      redis.pcall('LTRIM', root .. 'inbox:' .. worker, -1000, -1)
    end
  end
end
return changed
