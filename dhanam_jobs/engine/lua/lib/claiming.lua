-- Handing waiting jobs to a worker. Needs root, places, events, moves.

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
  return found
end

-- Claims at most `want` jobs, `fair` of them the oldest of any level. Returns a flat list: place, entries, place, …
-- and, where this worker is to watch for it, the time in ms at which the next delayed job is due, else ''.
local function claim(worker, want, fair, places)
  local taken, left, ids = {}, want, {}
  local function keep(place, entries)
    taken[#taken + 1] = place
    taken[#taken + 1] = entries
    left = left - #entries
    local level = string.sub(place, -1) .. '-'
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      ids[#ids + 1] = fields[1] == 'id' and fields[2] or level .. entry[1]
    end
  end
  if fair > 0 and string.find(places, ' ', 1, true) then
    for _ = 1, math.min(fair, want) do
      local place = oldest_place(places)
      if not place then break end
      local entries = take(place, worker, 1)
      if entries then keep(place, entries) end
    end
  end
  local more = false
  for place in string.gmatch(places, '%S+') do
    if left == 0 then
      more = more or redis.call('XLEN', root .. place) > 0
    else
      local entries = take(place, worker, left)
      if entries then
        keep(place, entries)
        if left == 0 then more = more_after(place, entries[#entries][1]) end
      end
    end
  end
  if #ids > 0 then tell(#ids, 'active', table.concat(ids, ' '), 'worker', worker) end
  local head = redis.call('ZRANGE', root .. 'delayed', 0, 0, 'WITHSCORES')
  if left == 0 then
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
