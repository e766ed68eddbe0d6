-- settle: active → completed | failed | cancelled | delayed | waiting (front) | blocked | parked; then waiting → active |
-- failed (expired)
-- Ends a batch of claims, each fenced by its entry id, and claims the next jobs in the same trip.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 call number  4 want (0: claim nothing)  5 fair
--       6 completed, 7 failed and 8 cancelled records to keep ('' all)
--       then five for each claim: place, entry, job id, kind, body
--         kind       completed | failed | cancelled, and behind a blank the unique key, if any; a '-' before it says
--                    that no record is kept; or delayed | released | parked | waits (for children) | limited
--         body       completed, failed, cancelled: the record, JSON text
--                    delayed: JSON {delay (ms), set}; released, parked: JSON {set}; waits: JSON {seen, set};
--                    limited: JSON {limit (ms), scope: key | queue, set}, back to the front of what starts nothing so long
--                    seen: failures that let it go on, as far as its handler knew; set: the entry fields to change
-- Returns {'dead', now} | {'stale', now, verdicts} | {'ok', now, verdicts, next due ms or '' or 'paused', place,
-- entries, …, 'late', expired}: the last two where jobs expired (ids and names). One verdict for each claim: 1 it counted, 0 the claim was
-- lost and nothing was changed for it.
-- A job whose cancellation is noted in `cancelling` ends cancelled where it would have gone on.
-- 'stale': this call, or a later one, was seen; nothing was done; verdicts are those of the last call seen.
-- include: root calls places events limits moves families endings records hooks claiming
if tonumber(ARGV[3]) <= tonumber(last[1]) then return {'stale', now, last[2]} end
local worker, want = ARGV[2], tonumber(ARGV[4])
local keep = {completed = ARGV[6], failed = ARGV[7], cancelled = ARGV[8]}
local meta = redis.call('HMGET', root .. 'meta', 'places', 'paused', 'limit', 'limited_until', 'keyed')
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
local cancelling = redis.call('HLEN', root .. 'cancelling') > 0
local moving, acknowledging, bodies = any_due(), {}, {}
for i = 9, #ARGV, 5 do
  local place, kind = ARGV[i], ARGV[i + 3]
  local entries = acknowledging[place]
  if entries then
    entries[#entries + 1] = ARGV[i + 1]
  else
    redis.call('XLEN', root .. place)
    acknowledging[place] = {ARGV[i + 1]}
  end
  if kind ~= 'completed' and kind ~= 'failed' then moving = true end
  if kind == 'delayed' or kind == 'released' or kind == 'parked' or kind == 'waits' or kind == 'limited' then
    bodies[i] = redis.call('XRANGE', root .. place, ARGV[i + 1], ARGV[i + 1])[1]
  end
end
check_places(places, moving or meta[5])
redis.call('ZREM', root .. 'bell', '') -- a write that a full Redis accepts; after it nothing here is refused

local verdicts, news = {}, {}
local ended = {completed = {{}, {}}, failed = {{}, {}}, cancelled = {{}, {}}}
local unkept = {}
local orphaned -- parents that fail for a child's sake, of which their worker does not know: ids, records
local keys = {}
local any_limited = false
local moved = {delayed = {}, waiting = {}, blocked = {}, parked = {}}

local function move(place, entry, kind, body, found)
  local change = cjson.decode(body)
  local level = string.sub(place, -1)
  local id, fields, map = changed_fields(place, entry, found and found[2] or {}, change.set or {})
  if not map.name then return end
  local mark = cancelling and redis.call('HGET', root .. 'cancelling', id)
  local next_state, why
  if kind == 'waits' and not mark then next_state, why = outlook(id, change.seen) end
  if next_state == 'failed' then
    orphaned = orphaned or {{}, {}}
    local ids, records = unpack(orphaned)
    ids[#ids + 1] = id
    records[#records + 1] = record_of(id, level, map, 'failed', (tonumber(map.attempt) or 0) + 1, 'ChildFailed', why)
    if map.unique then keys[#keys + 1] = {map.unique, id} end
  elseif next_state == 'blocked' then
    block_for_children(id, level, fields)
    moved.blocked[#moved.blocked + 1] = id
  elseif mark then
    local reason = cjson.decode(mark).reason
    local attempt = change.set and change.set.attempt or (tonumber(map.attempt) or 0) + 1
    local ids, records = unpack(ended.cancelled)
    ids[#ids + 1] = id
    records[#records + 1] = record_of(id, level, map, 'cancelled', attempt, 'Cancelled', reason)
    if map.unique then keys[#keys + 1] = {map.unique, id} end
  elseif kind == 'delayed' then
    put_delayed(id, level, fields, now + change.delay)
    moved.delayed[#moved.delayed + 1] = id
  elseif kind == 'released' or kind == 'waits' or kind == 'limited' then
    if kind == 'limited' then
      limit_for(change.scope == 'key' and map.key or nil, change.limit)
      any_limited = true
    end
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
  if string.sub(place, 1, 9) == 'admitted:' then give_back(place, entries) end
end
local any_lost = next(lost) ~= nil

for i = 9, #ARGV, 5 do
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
    if not list and string.sub(kind, 1, 1) == '-' then
      kind = string.sub(kind, 2)
      list = unkept[kind] or {{}, {}}
      unkept[kind] = list
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

local function add(state, ids)
  if #ids > 0 then
    news[#news + 1] = state
    news[#news + 1] = table.concat(ids, ' ')
  end
end
-- Who settled a failure tells of it, and is given a minute.
if #ended.failed[1] > 0 then keep_untold(ended.failed[1], ended.failed[2], 60000) end
if unkept.failed then keep_untold(unkept.failed[1], unkept.failed[2], 60000) end
if orphaned then
  keep_untold(orphaned[1], orphaned[2], 0)
  for i, id in ipairs(orphaned[1]) do
    table.insert(ended.failed[1], id)
    table.insert(ended.failed[2], orphaned[2][i])
  end
end
for _, state in ipairs({'completed', 'failed', 'cancelled'}) do
  local ids, records = ended[state][1], ended[state][2]
  if #ids > 0 then
    if cancelling then redis.call('HDEL', root .. 'cancelling', unpack(ids)) end
    finish(state, ids, records, keep[state])
  end
  if unkept[state] then
    local bare = unkept[state][1]
    if cancelling then redis.call('HDEL', root .. 'cancelling', unpack(bare)) end
    finish_unkept(state, bare, unkept[state][2])
    for _, id in ipairs(bare) do ids[#ids + 1] = id end
  end
  add(state, ids)
end
add('delayed', moved.delayed)
add('waiting', moved.waiting)
add('blocked', moved.blocked)
add('parked', moved.parked)
if #news > 0 then tell(#verdicts, unpack(news)) end
for _, pair in ipairs(keys) do places = free_unique(pair[1], pair[2], places) end
if #moved.waiting > 0 or #moved.delayed > 0 then ring() end
if (has_parents or has_families) and any_outgoing() then
  redis.pcall('RPUSH', root .. 'inbox:' .. worker, '{"deliver":true}')
  redis.pcall('LTRIM', root .. 'inbox:' .. worker, -1000, -1)
end

places = promote(places, 200)
if meta[2] then return {'ok', now, verdicts, 'paused'} end
if want == 0 then
  if meta[3] or meta[4] or meta[5] then ring() end -- what this worker let go, another may start
  return {'ok', now, verdicts, ''}
end
if meta[4] or any_limited then meta[4] = redis.call('HGET', root .. 'meta', 'limited_until') end
local taken, due = claim(worker, want, tonumber(ARGV[5]), places, meta[3], meta[4], meta[5] or noted_keyed)
if late then
-- include: expiry
fail_expired(late, worker, redis.call('HGET', root .. 'meta', 'places'), keep.failed, taken)
end
return {'ok', now, verdicts, due, unpack(taken)}
