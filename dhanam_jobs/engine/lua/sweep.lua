-- sweep: active → waiting (front) | failed | cancelled, for the claims of dead workers; delayed → waiting for what is due
-- One bounded step. Workers whose beat is older than the lease lose their row; consumers without a row lose their
-- claims, oldest first, and are deleted once they hold none. A worker always has a row before it first claims.
--
-- KEYS  1 root
-- ARGV  1 time  2 interval (ms)  3 lease (ms)  4 claims to reclaim at most  5 max stalls  6 failed records to keep
--       7 '1' to go on with a sweep begun just before  8 '1' where all workers but those named from 10 on are known to be
--       dead (the server is our own)  9 cancelled records to keep ('' all)  10… names
-- Returns {parked, untold} where another process swept within the interval; else {parked, untold, reclaimed, failed,
-- promoted, dead, more, grace, outgoing}: numbers of jobs, and of workers declared dead; untold are failures of which a hook is to be
-- told; more is 1 where a step is left; grace is 1 while the living are given a lease to beat after an outage; outgoing is how
-- much families of this queue have to tell others.
-- include: root places events limits moves endings records hooks
local interval, lease, budget = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local max_stalls, keep_failed = tonumber(ARGV[5]), ARGV[6]
local meta = redis.call('HMGET', root .. 'meta', 'places', 'swept_ms', 'grace_until_ms')
local places, swept, grace = meta[1] or '', tonumber(meta[2]), tonumber(meta[3])
redis.call('XLEN', root .. 'events')
redis.call('ZCARD', root .. 'delayed')
redis.call('ZCARD', root .. 'failed')
redis.call('ZCARD', root .. 'waited')
redis.call('HLEN', root .. 'ended')
redis.call('HLEN', root .. 'index')
redis.call('HLEN', root .. 'unique')
redis.call('HLEN', root .. 'joined')
redis.call('HLEN', root .. 'runs')
redis.call('HLEN', root .. 'spared')
redis.call('ZCARD', root .. 'cancelled')
local cancelling = redis.call('HLEN', root .. 'cancelling') > 0
local parked = redis.call('ZCARD', root .. 'parked')
redis.call('ZCARD', root .. 'blocked')
redis.call('ZCARD', root .. 'bell')
check_places(places, true)
local function length(of)
  local count = redis.pcall('HLEN', root .. of)
  return type(count) == 'number' and count or 0
end
redis.call('ZREM', root .. 'workers', '') -- a write that a full Redis accepts; after it nothing here is refused
if ARGV[7] ~= '1' then
  if not redis.call('SET', root .. 'sweeping', now, 'NX', 'PX', math.max(1, interval - 100)) then return {parked, length('untold')} end
  -- After an outage every beat is old: the living are given one lease to beat again.
  if not swept or now - swept > 2 * interval then
    grace = now + lease
    redis.call('HSET', root .. 'meta', 'grace_until_ms', grace)
  end
  redis.call('HSET', root .. 'meta', 'swept_ms', now)
end
local sure = ARGV[8] == '1'
local graced = (grace and now < grace and not sure) and 1 or 0

local promoted
places, promoted = promote(places, 200)
local more = promoted == 200 and 1 or 0
redis.call('ZREMRANGEBYSCORE', root .. 'waited', '-inf', now)
-- Who watched for the end of a limit may have died.
local limits = redis.call('HMGET', root .. 'meta', 'keyed', 'limited_until')
if limits[2] and tonumber(limits[2]) <= now then redis.call('HDEL', root .. 'meta', 'limited_until') end
if (limits[1] and wake_rested(200) > 0) or (limits[2] and tonumber(limits[2]) <= now) then ring() end

local dead = 0
local living = {}
if sure then
  for i = 10, #ARGV do living[ARGV[i]] = true end
end
if graced == 0 then
  local candidates
  if sure then
    candidates = redis.call('ZRANGE', root .. 'workers', 0, -1)
  else
    candidates = redis.call('ZRANGEBYSCORE', root .. 'workers', '-inf', now - lease)
  end
  for _, worker in ipairs(candidates) do
    if not living[worker] then
      redis.call('ZREM', root .. 'workers', worker)
      -- What it said at its last beat to hold unbegun costs no stall.
      local doing = redis.pcall('HGET', root .. 'worker:' .. worker, 'doing')
      local held = type(doing) == 'string' and string.find(doing, '"held"', 1, true) and cjson.decode(doing).held or {}
      for _, claim in ipairs(held) do redis.call('HSET', root .. 'spared', claim, worker) end
      redis.call('DEL', root .. 'worker:' .. worker, root .. 'inbox:' .. worker)
      tell(1, 'dead', worker)
      dead = dead + 1
    end
  end
end

local any_spared = redis.call('EXISTS', root .. 'spared') == 1
local reclaimed, failed, records, freed = {}, {}, {}, {}
local cancelled, cancelled_records = {}, {}

local function reclaim(place, entry)
  local found = redis.call('XRANGE', root .. place, entry, entry)[1]
  redis.call('XACK', root .. place, 'workers', entry)
  if not found then return give_back(place, {entry}) end
  redis.call('XDEL', root .. place, entry)
  give_back(place, {entry})
  local stalls, spared = 0, 0
  for i = 1, #found[2], 2 do
    if found[2][i] == 'stalls' then stalls = tonumber(found[2][i + 1]) end
    if found[2][i] == 'spared' then spared = tonumber(found[2][i + 1]) end
  end
  local changes
  if any_spared and redis.call('HDEL', root .. 'spared', place .. ' ' .. entry) == 1 and spared < max_stalls then
    changes = {spared = tostring(spared + 1)} -- it may have begun since that beat: only so often
  else
    stalls = stalls + 1
    changes = {stalls = tostring(stalls)}
  end
  local id, fields, map = changed_fields(place, entry, found[2], changes)
  local level = string.sub(place, -1)
  local mark = cancelling and redis.call('HGET', root .. 'cancelling', id)
  local attempt = (tonumber(map.attempt) or 0) + 1
  if mark then
    redis.call('HDEL', root .. 'cancelling', id)
    local reason = cjson.decode(mark).reason
    cancelled[#cancelled + 1] = id
    cancelled_records[#cancelled] = record_of(id, level, map, 'cancelled', attempt, 'Cancelled', reason)
    if map.unique then freed[#freed + 1] = {map.unique, id} end
  elseif stalls > max_stalls then
    failed[#failed + 1] = id
    records[#records + 1] = record_of(id, level, map, 'failed', attempt, 'Stalled',
      'lost its worker ' .. stalls .. ' times, at most ' .. max_stalls .. ' are allowed')
    if map.unique then freed[#freed + 1] = {map.unique, id} end
  else
    places = put_waiting('front:' .. level, id, fields, places)
    reclaimed[#reclaimed + 1] = id
  end
end

if graced == 0 then
  for place in string.gmatch(places, '%S+') do
    local consumers = on_group(place, 'XINFO', 'CONSUMERS', root .. place, 'workers')
    for _, consumer in ipairs(consumers) do
      local name, pending = nil, 0
      for i = 1, #consumer, 2 do
        if consumer[i] == 'name' then name = consumer[i + 1] end
        if consumer[i] == 'pending' then pending = consumer[i + 1] end
      end
      if not redis.call('ZSCORE', root .. 'workers', name) then
        if pending > 0 and budget > 0 then
          local held = redis.call('XPENDING', root .. place, 'workers', '-', '+', budget, name)
          for _, item in ipairs(held) do reclaim(place, item[1]) end
          budget = budget - #held
          pending = pending - #held
        end
        if pending == 0 then
          redis.call('XGROUP', 'DELCONSUMER', root .. place, 'workers', name)
        else
          more = 1
        end
      end
    end
  end
end
if any_spared and more == 0 then redis.call('DEL', root .. 'spared') end -- what else it held had ended before
finish('failed', failed, records, keep_failed)
keep_untold(failed, records, 0)
finish('cancelled', cancelled, cancelled_records, ARGV[9] or '')
if #reclaimed > 0 then
  tell(#reclaimed, 'waiting', table.concat(reclaimed, ' '), 'stalled', table.concat(reclaimed, ' '))
end
if #failed > 0 then
  tell(#failed, 'failed', table.concat(failed, ' '), 'stalled', table.concat(failed, ' '))
end
if #cancelled > 0 then tell(#cancelled, 'cancelled', table.concat(cancelled, ' ')) end
for _, pair in ipairs(freed) do places = free_unique(pair[1], pair[2], places) end
local stalled = #reclaimed + #failed + #cancelled
if stalled > 0 then
  redis.call('HINCRBY', root .. 'meta', 'stalled', stalled)
  ring()
end
return {parked, length('untold'), #reclaimed, #failed, promoted, dead, more, graced,
  length('planned') + length('handover') + length('felled')}
