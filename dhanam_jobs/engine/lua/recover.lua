-- recover: – (nothing moves)
-- Answers a worker whose last call got no reply: what that call did, and every claim that the worker holds. Raises the
-- call number, so that a call still on its way is refused.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 call number
-- Returns {'dead', now} | {'stale', now, verdicts} | {'ok', now, verdicts, number of the call that they are of, place,
-- entries, …}.
-- include: root calls places limits
if tonumber(ARGV[3]) <= tonumber(last[1]) then return {'stale', now, last[2]} end
local places = redis.call('HGET', root .. 'meta', 'places') or ''
check_places(places)
redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts; after it nothing here is refused
redis.call('HSET', row, 'call', ARGV[3])
local reply = {'ok', now, last[2], tonumber(last[3] or 0)}
for place in string.gmatch(places, '%S+') do
  local pending = on_group(place, 'XPENDING', root .. place, 'workers', '-', '+', 100000, ARGV[2])
  local entries = {}
  for _, held in ipairs(pending) do
    local found = redis.call('XRANGE', root .. place, held[1], held[1])[1]
    if found then
      entries[#entries + 1] = found
    else
      redis.call('XACK', root .. place, 'workers', held[1]) -- deleted by hand: nothing is left to run
      give_back(place, {held[1]})
    end
  end
  if #entries > 0 then
    reply[#reply + 1] = place
    reply[#reply + 1] = entries
  end
end
return reply
