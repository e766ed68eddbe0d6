-- reprioritise: waiting → waiting (another level); delayed, blocked and parked jobs keep their state
-- Gives jobs another level. A waiting one goes to the end of its new level, or to the end of its front.
--
-- KEYS  1 root
-- ARGV  1 time  2 level  3… ids (a few hundred at most)
-- Returns one verdict for each id: 'moved', 'same' where it has that level, 'missing', or the state that it is in (active
-- or ended).
-- include: root places events limits moves finding
local level = ARGV[2]
local places = redis.call('HGET', root .. 'meta', 'places') or ''
check_places(places, true)
redis.call('XLEN', root .. 'events')
redis.call('ZCARD', root .. 'bell')
redis.call('ZCARD', root .. 'delayed')
redis.call('HLEN', root .. 'index')
redis.call('HLEN', root .. 'ended')
for i = 3, #ARGV do redis.call('STRLEN', root .. 'result:' .. ARGV[i]) end
local verdicts, waiting = {}, {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local state, detail, place, flat, entry = find(id)
  local verdict = state or 'missing'
  if state == 'ended' then
    verdict = string.match(detail, '"state":"(%a+)"') or state
  elseif state and state ~= 'active' then
    if string.sub(place, -1) == level then
      verdict = 'same'
    elseif state == 'waiting' and not entry then
      redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts
      move_in_line(id, detail, tonumber(level))
      waiting[#waiting + 1] = id
      verdict = 'moved'
    elseif state == 'waiting' then
      local _, fields = changed_fields(place, entry, flat, {})
      redis.call('XDEL', root .. place, entry)
      places = put_waiting(string.sub(place, 1, -2) .. level, id, fields, places)
      waiting[#waiting + 1] = id
      verdict = 'moved'
    else
      redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts
      redis.call('HSET', root .. 'job:' .. id, 'priority', level)
      verdict = 'moved'
    end
  end
  verdicts[#verdicts + 1] = verdict
end
if #waiting > 0 then
  tell(#waiting, 'waiting', table.concat(waiting, ' '))
  ring()
end
return verdicts
