-- edit: waiting, delayed, blocked and parked jobs keep their state
-- Gives a job that isn't running another payload. A waiting one without a key goes to the end of its level (or of its
-- front), since what stands in a stream can't be changed in place.
--
-- KEYS  1 root
-- ARGV  1 time  2 id  3 name that the payload was checked for  4 payload, JSON text, never read here
-- Returns 'edited'; 'changed' where the job of that id has another name; 'missing'; or the state (active, or ended).
-- include: root places events limits moves finding
local id, name, payload = ARGV[2], ARGV[3], ARGV[4]
local places = redis.call('HGET', root .. 'meta', 'places') or ''
check_places(places, true)
redis.call('XLEN', root .. 'events')
redis.call('ZCARD', root .. 'bell')
redis.call('HLEN', root .. 'unique')
local state, detail, place, flat, entry = find(id)
if not state then return 'missing' end
if state == 'ended' then return string.match(detail, '"state":"(%a+)"') or state end
if state == 'active' then return state end
local map = {}
for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
if map.name ~= name then return 'changed' end
if map.unique then redis.call('LLEN', root .. 'held:' .. map.unique) end

redis.call('HINCRBY', root .. 'meta', 'revived', 0) -- a write that a full Redis refuses, with nothing changed
if entry then
  local _, fields = changed_fields(place, entry, flat, {payload = payload})
  redis.call('XDEL', root .. place, entry)
  places = put_waiting(place, id, fields, places)
  ring()
else
  redis.call('HSET', root .. 'job:' .. id, 'payload', payload)
end
if map.unique then
  -- Who enqueues the new payload under the key joins this job; who enqueues the old one doesn't.
  local holder = redis.sha1hex(name .. '\n' .. payload) .. ' ' .. id
  local owner = redis.call('HGET', root .. 'unique', map.unique)
  if owner and string.sub(owner, 42) == id then redis.call('HSET', root .. 'unique', map.unique, holder) end
  for position, held in ipairs(redis.call('LRANGE', root .. 'held:' .. map.unique, 0, -1)) do
    if string.sub(held, 42) == id then redis.call('LSET', root .. 'held:' .. map.unique, position - 1, holder) end
  end
end
tell(1, 'edited', id)
return 'edited'
