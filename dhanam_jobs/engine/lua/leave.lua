-- leave: – (nothing moves)
-- Takes a worker's row away at its orderly end, and its consumers where they hold nothing. What it still holds, the
-- sweep reclaims.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker
-- Returns the number of claims that it still held.
-- include: root places events
local places = redis.call('HGET', root .. 'meta', 'places') or ''
redis.call('ZCARD', root .. 'workers')
redis.call('ZCARD', root .. 'bell')
check_places(places)
local held = 0
for place in string.gmatch(places, '%S+') do
  local pending = #on_group(place, 'XPENDING', root .. place, 'workers', '-', '+', 1000, ARGV[2])
  held = held + pending
  if pending == 0 then redis.call('XGROUP', 'DELCONSUMER', root .. place, 'workers', ARGV[2]) end
end
redis.call('ZREM', root .. 'workers', ARGV[2])
local watch = redis.call('HGET', root .. 'meta', 'watch')
if watch and string.match(watch, '^%S+') == ARGV[2] then
  redis.call('HDEL', root .. 'meta', 'watch')
  ring()
end
redis.call('DEL', root .. 'worker:' .. ARGV[2], root .. 'inbox:' .. ARGV[2])
return held
