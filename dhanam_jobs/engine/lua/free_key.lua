-- free_key: – (blocked → waiting | delayed, for the first job that waits for the key)
-- Frees a unique key by hand. Whoever held it goes on, and no longer holds anything.
--
-- KEYS  1 root
-- ARGV  1 time  2 unique key
-- Returns the id of the job that held it, or '' where nobody did.
-- include: root places events limits moves endings
local places = redis.call('HGET', root .. 'meta', 'places') or ''
redis.call('XLEN', root .. 'events')
redis.call('ZCARD', root .. 'bell')
redis.call('ZCARD', root .. 'blocked')
redis.call('ZCARD', root .. 'delayed')
redis.call('HLEN', root .. 'index')
redis.call('LLEN', root .. 'held:' .. ARGV[2])
check_places(places, true)
local holder = redis.call('HGET', root .. 'unique', ARGV[2])
local throttled = redis.call('GET', root .. 'throttled:' .. ARGV[2])
redis.call('DEL', root .. 'throttled:' .. ARGV[2]) -- a write that a full Redis accepts; after it nothing here is refused
if holder then
  local id = string.sub(holder, 42)
  free_unique(ARGV[2], id, places)
  return id
end
return throttled and string.match(throttled, ' (.*)$') or ''
