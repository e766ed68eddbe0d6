-- settle: active → completed | failed | delayed | waiting (front) | parked; then waiting → active
-- Ends a batch of claims, each fenced by its entry id, and claims the next jobs in the same trip.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 call number  4 want (0: claim nothing)  5 fair
--       6 completed and 7 failed records to keep ('' all)
--       then five for each claim: place, entry, job id, kind, body
--         kind       completed | failed | delayed | released | parked, and behind a blank the unique key, if any
--         body       completed, failed: the record, JSON text
--                    delayed: JSON {delay (ms), set}; released, parked: JSON {set}; set holds the entry fields to change
-- Returns {'dead', now} | {'stale', now, verdicts} | {'ok', now, verdicts, next due ms or '' or 'paused', place,
-- entries, …}. One verdict for each claim: 1 it counted, 0 the claim was lost and nothing was changed for it.
-- 'stale': this call, or a later one, was seen; nothing was done; verdicts are those of the last call seen.
-- include: root calls places events moves endings claiming
if tonumber(ARGV[3]) <= tonumber(last[1]) then return {'stale', now, last[2]} end
local worker, want = ARGV[2], tonumber(ARGV[4])
local keep_completed, keep_failed = ARGV[6], ARGV[7]
local meta = redis.call('HMGET', root .. 'meta', 'places', 'paused')
local places = meta[1] or ''
redis.call('XLEN', root .. 'events')
redis.call('ZCARD', root .. 'completed')
redis.call('ZCARD', root .. 'failed')
redis.call('ZCARD', root .. 'waited')
redis.call('ZCARD', root .. 'parked')
redis.call('ZCARD', root .. 'blocked')
redis.call('HLEN', root .. 'ended')
redis.call('HLEN', root .. 'index')
redis.call('HLEN', root .. 'unique')
redis.call('HLEN', root .. 'joined')
redis.call('HLEN', root .. 'runs')
local moving, acknowledging, bodies = any_due(), {}, {}
for i = 8, #ARGV, 5 do
  local place, kind = ARGV[i], ARGV[i + 3]
  local entries = acknowledging[place]
  if entries then
    entries[#entries + 1] = ARGV[i + 1]
  else
    redis.call('XLEN', root .. place)
    acknowledging[place] = {ARGV[i + 1]}
  end
  if kind ~= 'completed' and kind ~= 'failed' then moving = true end
  if kind == 'delayed' or kind == 'released' or kind == 'parked' then
    bodies[i] = redis.call('XRANGE', root .. place, ARGV[i + 1], ARGV[i + 1])[1]
  end
end
check_places(places, moving)
redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts; after it nothing here is refused

local verdicts, news = {}, {}
local ended = {completed = {{}, {}}, failed = {{}, {}}}
local keys = {}
local moved = {delayed = {}, waiting = {}, parked = {}}

local function move(place, entry, kind, body, found)
  local change = cjson.decode(body)
  local level = string.sub(place, -1)
  local id, fields, map = changed_fields(place, entry, found and found[2] or {}, change.set or {})
  if not map.name then return end
  if kind == 'delayed' then
    put_delayed(id, level, fields, now + change.delay)
    moved.delayed[#moved.delayed + 1] = id
  elseif kind == 'released' then
    places = put_waiting('front:' .. level, id, fields, places)
    moved.waiting[#moved.waiting + 1] = id
  else
    local number = redis.call('HINCRBY', root .. 'meta', 'sequence', 1)
    -- No handler's name holds a blank, but one written by hand may.
    local member = string.format('%s %015d %s', (string.gsub(map.name, '%s', '_')), number, id)
    keep_fields(id, level, fields)
    redis.call('ZADD', root .. 'parked', 0, member)
    redis.call('HSET', root .. 'index', id, 'parked ' .. member)
    moved.parked[#moved.parked + 1] = id
  end
end

-- The fence. One XACK for the entries of a place: where it counts them all, all were ours. Where it doesn't, XDEL tells
-- one by one, since whoever takes a claim away deletes its entry in the same script.
local lost = {}
for place, entries in pairs(acknowledging) do
  if redis.call('XACK', root .. place, 'workers', unpack(entries)) == #entries then
    redis.call('XDEL', root .. place, unpack(entries))
  else
    for _, entry in ipairs(entries) do
      if redis.call('XDEL', root .. place, entry) == 0 then lost[place .. ' ' .. entry] = true end
    end
  end
end
local any_lost = next(lost) ~= nil

for i = 8, #ARGV, 5 do
  local place, kind = ARGV[i], ARGV[i + 3]
  if any_lost and lost[place .. ' ' .. ARGV[i + 1]] then
    verdicts[#verdicts + 1] = '0'
  else
    verdicts[#verdicts + 1] = '1'
    local key
    local list = ended[kind]
    if not list and string.find(kind, ' ', 1, true) then
      kind, key = string.match(kind, '^(%S+) (.*)$')
      list = ended[kind]
    end
    if list then
      local ids, records = list[1], list[2]
      ids[#ids + 1] = ARGV[i + 2]
      records[#records + 1] = ARGV[i + 4]
      if key then keys[#keys + 1] = {key, ARGV[i + 2]} end
    else
      move(place, ARGV[i + 1], kind, ARGV[i + 4], bodies[i])
    end
  end
end
verdicts = table.concat(verdicts)
redis.call('HSET', row, 'call', ARGV[3], 'settled', ARGV[3], 'verdicts', verdicts)

finish('completed', ended.completed[1], ended.completed[2], keep_completed)
finish('failed', ended.failed[1], ended.failed[2], keep_failed)
local function add(state, ids)
  if #ids > 0 then
    news[#news + 1] = state
    news[#news + 1] = table.concat(ids, ' ')
  end
end
add('completed', ended.completed[1])
add('failed', ended.failed[1])
add('delayed', moved.delayed)
add('waiting', moved.waiting)
add('parked', moved.parked)
if #news > 0 then tell(#verdicts, unpack(news)) end
for _, pair in ipairs(keys) do places = free_unique(pair[1], pair[2], places) end
if #moved.waiting > 0 or #moved.delayed > 0 then ring() end

places = promote(places, 200)
if meta[2] then return {'ok', now, verdicts, 'paused'} end
if want == 0 then return {'ok', now, verdicts, ''} end
local taken, due = claim(worker, want, tonumber(ARGV[5]), places)
return {'ok', now, verdicts, due, unpack(taken)}
