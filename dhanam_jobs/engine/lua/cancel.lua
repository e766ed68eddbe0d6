-- cancel: waiting | delayed | blocked | parked → cancelled; an active job's worker is asked to end it
-- What runs is noted in `cancelling`, so that it ends cancelled also where its worker dies, retries or releases it, and
-- its worker is told through its inbox. A claim whose worker is gone ends here.
--
-- KEYS  1 root
-- ARGV  1 time  2 cancelled records to keep ('' all)  3 reason  4… ids (a few hundred at most)
-- Returns one verdict for each id: 'cancelled'; 'asked' where it runs; 'missing'; or the state in which it has ended.
-- include: root places events limits moves finding endings removing records
local places = redis.call('HGET', root .. 'meta', 'places') or ''
check_removing(places)
redis.call('ZCARD', root .. 'workers')
redis.call('HLEN', root .. 'cancelling')
redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts; after it nothing here is refused
local verdicts, ids, records, freed, seen = {}, {}, {}, {}, {}
for i = 4, #ARGV do
  local id, verdict = ARGV[i], 'cancelled'
  local state, detail, place, flat, entry
  if not seen[id] then state, detail, place, flat, entry = find(id) end
  if seen[id] then
    verdict = 'cancelled'
  elseif not state then
    verdict = 'missing'
  elseif state == 'ended' then
    verdict = string.match(detail, '"state":"(%a+)"') or 'completed'
  elseif state == 'active' and redis.call('ZSCORE', root .. 'workers', detail) then
    verdict = 'asked'
    redis.call('HSETNX', root .. 'cancelling', id, cjson.encode({at_ms = string.format('%d', now), reason = ARGV[3]}))
    local inbox = root .. 'inbox:' .. detail
    redis.call('RPUSH', inbox, cjson.encode({cancel = id, place = place, entry = entry, reason = ARGV[3]}))
    redis.call('LTRIM', inbox, -1000, -1)
  else
    local map = {}
    for j = 1, #flat, 2 do map[flat[j]] = flat[j + 1] end
    if not map.created then map.created = string.match(entry or '', '^%d+') or '0' end
    local attempt = (tonumber(map.attempt) or 0) + (state == 'active' and 1 or 0)
    ids[#ids + 1] = id
    records[#records + 1] = record_of(id, string.sub(place, -1), map, 'cancelled', attempt, 'Cancelled', ARGV[3])
    if map.unique then freed[#freed + 1] = {map.unique, id} end
    take_out(id, state, place, entry)
    redis.call('HDEL', root .. 'cancelling', id)
    seen[id] = true
  end
  verdicts[#verdicts + 1] = verdict
end
finish('cancelled', ids, records, ARGV[2])
if #ids > 0 then tell(#ids, 'cancelled', table.concat(ids, ' ')) end
for _, pair in ipairs(freed) do places = free_unique(pair[1], pair[2], places) end
return verdicts
