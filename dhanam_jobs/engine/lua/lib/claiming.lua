-- Handing waiting jobs to a worker. Needs root, places, events, moves.

-- Jobs that had to be started by a moment that has passed, and never were, are not handed out: they are noted here, at most
-- 200 of one call, for who ends them. What is beyond that is left to the worker, as is all where a key that ending them
-- touches is of a wrong type, since by now there is no way back.
local late

local function may_end()
  for _, name in ipairs({'ZCARD failed', 'ZCARD waited', 'ZCARD bell', 'ZCARD blocked', 'HLEN ended', 'HLEN index',
    'HLEN unique', 'HLEN joined', 'HLEN runs', 'HLEN notes', 'HLEN parents', 'HLEN families', 'HLEN handover',
    'HLEN felled', 'HLEN planned', 'HLEN cancelling'}) do
    local command, key = string.match(name, '^(%S+) (%S+)$')
    if type(redis.pcall(command, root .. key)) ~= 'number' then return false end
  end
  return pcall(check_places, '', true)
end

local function is_late(place, entry, fields)
  local expires
  for i = 1, #fields, 2 do
    local field = fields[i]
    if field == 'expires' then
      expires = tonumber(fields[i + 1])
    elseif field == 'attempt' or field == 'stalls' or field == 'snoozes' or field == 'waits' then
      return false
    end
  end
  if not expires or expires > now then return false end
  if not late then
    if not may_end() then return false end
    late = {}
  end
  if #late >= 200 then return false end
  late[#late + 1] = {place = place, entry = entry, fields = fields}
  return true
end

-- True where a place holds an entry that nobody has been given yet, after `entry`.
local function more_after(place, entry)
  return #redis.call('XRANGE', root .. place, '(' .. entry, '+', 'COUNT', 1) > 0
end

local function take(place, worker, count)
  local reply = on_group(place, 'XREADGROUP', 'GROUP', 'workers', worker, 'COUNT', count,
    'STREAMS', root .. place, '>')
  return reply and reply[1][2]
end

-- The place whose next entry is the oldest, for the share that keeps the least urgent from starving.
local function oldest_place(places)
  local found, age
  for place in string.gmatch(places, '%S+') do
    local groups = redis.pcall('XINFO', 'GROUPS', root .. place)
    if groups.err then groups = {} end
    local delivered = '0-0'
    for _, group in ipairs(groups) do
      for i = 1, #group, 2 do
        if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
      end
    end
    local head = redis.call('XRANGE', root .. place, '(' .. delivered, '+', 'COUNT', 1)[1]
    if head then
      local ms = tonumber(string.match(head[1], '^%d+'))
      if not age or ms < age then found, age = place, ms end
    end
  end
  return found, age
end

-- Starts at most `count` jobs with a key whose turn comes at that level. Returns how many, and the places: their entries
-- stand in `admitted:<level>`, where nothing else waits.
local function admit(level, count, places)
  local place, admitted = 'admitted:' .. level, 0
  local low, high = string.format('%.0f', level * 2 * STEP), string.format('(%.0f', (level * 2 + 2) * STEP)
  local places_of, holds, started = {}, {}, {}
  while admitted < count do
    local key = redis.call('ZRANGEBYSCORE', root .. 'turns', low, high, 'LIMIT', 0, 1)[1]
    if not key then break end
    local code, id, following = first_of(key)
    local ready, opens, starts, period = may_start(key)
    if not code or not ready then
      rest(key, code and opens)
    elseif math.floor(code / 2) ~= level then
      give_turn(key, code)
    else
      local fields = kept_fields(id)
      redis.call('ZREM', root .. 'keyed', id)
      redis.call('ZREM', root .. 'keyed:' .. key, id)
      -- A damaged job must not stop those behind it, and one that is too late takes neither a share nor the turn.
      local passed = fields and is_late(place, nil, fields)
      if passed then
        redis.call('DEL', root .. 'job:' .. id)
      elseif fields then
        places = open_place(place, places)
        local where = place .. ' ' .. redis.call('XADD', root .. place, '*', unpack(fields))
        places_of[#places_of + 1], places_of[#places_of + 2] = id, where
        holds[#holds + 1], holds[#holds + 2] = where, key
        started[#started + 1] = root .. 'job:' .. id
        redis.call('HINCRBY', root .. 'running', key, 1)
        if starts > 0 then log_starts(root .. 'starts:' .. key, starts, period, 1) end
        admitted = admitted + 1
      end
      if not following then
        redis.call('ZREM', root .. 'turns', key)
      elseif not passed or following ~= code then
        give_turn(key, following)
      end
    end
  end
  if admitted > 0 then
    redis.call('DEL', unpack(started))
    redis.call('HSET', root .. 'index', unpack(places_of))
    redis.call('HSET', root .. 'holding', unpack(holds))
  end
  return admitted, places
end

-- The level whose first key in turn has the oldest job, and since when that waits.
local function oldest_turn()
  local found, age
  for level = 0, 9 do
    local low, high = string.format('%.0f', level * 2 * STEP), string.format('(%.0f', (level * 2 + 2) * STEP)
    local key = redis.call('ZRANGEBYSCORE', root .. 'turns', low, high, 'LIMIT', 0, 1)[1]
    local code, id = first_of(key or '')
    if code then
      local created = redis.pcall('HGET', root .. 'job:' .. id, 'created')
      local ms = type(created) == 'string' and tonumber(created) or now
      if not age or ms < age then found, age = level, ms end
    end
  end
  return found, age
end

-- Claims at most `want` jobs, `fair` of them the oldest of any level. `limit`, `limited_until` and `keyed` are the fields
-- of `meta`, false where the queue has none. Returns a flat list: place, entries, place, … and, where this worker is to
-- watch for it, the time in ms at which the next delayed job is due or a limit ends, else ''.
local function claim(worker, want, fair, places, limit, limited_until, keyed)
  local taken, ids, room, opens = {}, {}, want, nil
  if limit or limited_until then
    room, opens = queue_room(limit, limited_until, want, places)
    fair = math.min(fair, room)
  end
  local left = room
  if keyed then wake_rested(200) end
  -- Takes at most `count` jobs from a place. Returns the last entry that it was given, or nil.
  local function fill(place, count)
    local level, last = string.sub(place, -1) .. '-', nil
    while true do
      local entries = take(place, worker, count)
      if not entries then return last end
      last = entries[#entries][1]
      local before, in_time = #ids, nil
      for i, entry in ipairs(entries) do
        local fields = entry[2]
        if #fields > 4 and is_late(place, entry[1], fields) then
          in_time = in_time or {unpack(entries, 1, i - 1)}
        else
          ids[#ids + 1] = fields[1] == 'id' and fields[2] or level .. entry[1]
          if in_time then in_time[#in_time + 1] = entry end
        end
      end
      local kept = #ids - before
      if kept > 0 then
        taken[#taken + 1] = place
        taken[#taken + 1] = in_time or entries
      end
      left = left - kept
      count = count - kept
      if not in_time or count == 0 then return last end
    end
  end
  local function start_turns(level, count)
    local admitted
    admitted, places = admit(level, count, places)
    if admitted > 0 then fill('admitted:' .. level, admitted) end
  end
  if fair > 0 and (keyed or string.find(places, ' ', 1, true)) then
    for _ = 1, math.min(fair, room) do
      local place, age = oldest_place(places)
      local level, since
      if keyed then level, since = oldest_turn() end
      if level and (not age or since < age) then
        start_turns(level, 1)
      elseif place then
        fill(place, 1)
      else
        break
      end
    end
  end
  local more = false
  local turn = keyed and next_turn()
  if turn and left > 0 then
    -- Level by level: what came back, then jobs with keys and jobs without by halves, each using what the other leaves.
    for level = 0, 9 do
      local front, waiting = 'front:' .. level, 'waiting:' .. level
      if left > 0 and string.find(places, front, 1, true) then
        fill(front, left)
      end
      if left > 0 and turn == level then
        local half = left
        if string.find(places, waiting, 1, true) and redis.call('XLEN', root .. waiting) > 0 then
          half = math.floor((left + redis.call('HINCRBY', root .. 'meta', 'turn', 1) % 2) / 2)
        end
        start_turns(level, half)
      end
      if left > 0 and string.find(places, waiting, 1, true) then
        fill(waiting, left)
      end
      if left > 0 and turn and turn <= level then
        start_turns(level, left)
        turn = next_turn()
      end
    end
    more = left == 0
  end
  for place in string.gmatch(places, '%S+') do
    if string.sub(place, 1, 9) == 'admitted:' then
      -- Nothing waits there.
    elseif left == 0 then
      more = more or redis.call('XLEN', root .. place) > 0
    else
      local last = fill(place, left)
      if last and left == 0 then more = more_after(place, last) end
    end
  end
  if #ids > 0 then tell(#ids, 'active', table.concat(ids, ' '), 'worker', worker) end
  local head = redis.call('ZRANGE', root .. 'delayed', 0, 0, 'WITHSCORES')
  if keyed then
    local resting = redis.call('ZRANGE', root .. 'resting', 0, 0, 'WITHSCORES')
    if resting[1] and (not head[1] or tonumber(resting[2]) < tonumber(head[2])) then head = resting end
    more = more or (left == 0 and redis.call('ZCARD', root .. 'turns') > 0)
  end
  if limit then
    local _, starts, period = parse_limit(limit)
    if starts > 0 and #ids > 0 then
      log_starts(root .. 'starts', starts, period, #ids)
      if left == 0 then _, opens = starts_left(root .. 'starts', starts, period, 1) end
    end
  end
  if opens and left == 0 and (not head[1] or opens < tonumber(head[2])) then
    head = {'limit', string.format('%d', opens)}
  end
  if left == 0 and room == want and want > 0 then
    -- Whoever fills its slots hands what is left, and the watch over what is not due yet, to the next idle worker.
    if head[1] then
      local watch = redis.call('HGET', root .. 'meta', 'watch')
      if watch and string.match(watch, '^%S+') == worker then redis.call('HDEL', root .. 'meta', 'watch') end
      more = true
    end
    if more then ring() end
    return taken, ''
  end
  redis.call('ZREM', root .. 'bell', 'work')
  if not head[1] then return taken, '' end
  -- One idle worker watches the clock for the next delayed job; the others sleep on.
  local watch = redis.call('HGET', root .. 'meta', 'watch')
  local watcher, due = string.match(watch or '', '^(%S+) (%S+)$')
  if watcher and watcher ~= worker and due == head[2] and tonumber(due) > now then return taken, '' end
  redis.call('HSET', root .. 'meta', 'watch', worker .. ' ' .. head[2])
  return taken, head[2]
end
