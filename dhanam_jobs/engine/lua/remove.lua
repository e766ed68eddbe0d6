-- remove: waiting | delayed | blocked | parked | active | ended → –
-- Removes jobs and records by id, each only where it is in a state that the caller named. A removed active job's claim is
-- lost: its worker is told to end the handler, and its outcome no longer counts.
--
-- KEYS  1 root
-- ARGV  1 time  2 states, between blanks  3… ids (a few hundred at most)
-- Returns one verdict for each id: 'removed', 'missing', or the state that it is in and that was not named.
-- include: root places events limits moves finding endings removing
local places = redis.call('HGET', root .. 'meta', 'places') or ''
check_removing(places)
redis.call('ZCARD', root .. 'workers')
for i = 3, #ARGV do redis.call('STRLEN', root .. 'result:' .. ARGV[i]) end
local verdicts, gone = {}, {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local state, detail, place, fields, entry = find(id)
  local name = state
  if state == 'ended' then name = string.match(detail, '"state":"(%a+)"') or 'completed' end
  if not state then
    verdicts[#verdicts + 1] = 'missing'
  elseif not string.find(ARGV[2], ' ' .. name .. ' ', 1, true) then
    verdicts[#verdicts + 1] = name
  else
    if state == 'ended' then
      remove_ended(id)
    else
      places = remove_live(id, state, place, fields, entry, places)
      if state == 'active' then call_off(id, detail, place, entry, 'removed') end
    end
    gone[#gone + 1] = id
    verdicts[#verdicts + 1] = 'removed'
  end
end
if #gone > 0 then tell(#gone, 'removed', table.concat(gone, ' ')) end
return verdicts
