-- list: – (reads only)
-- One bounded step through the jobs of a state, from where the last one ended: waiting and active ones in the order in
-- which they are claimed, delayed by due time, blocked and parked oldest first, ended ones and dead letters newest first.
--
-- KEYS  1 root
-- ARGV  1 time  2 state: a job's, or 'dead'  3 cursor ('' at first)  4 matches to return at most  5 jobs to look at, at
--       most  6 filter, JSON: {level, name, named (the name as it stands in a record), text (lower case), older and
--       younger (ms since it was created, or for ended jobs finished), until_ms (created or finished by then)}
--       7 '1' for ids alone  8 '1' for ended ones oldest first
-- Returns {next cursor or '' at the end, looked at, jobs in the state, now, then for each match: id, and as in `find`:
-- state, detail, joined, place, fields (for an ended one state, record, joined)}. `text` is a rough sieve: what it lets
-- through is to be looked at again.
-- include: root places events limits moves finding seeking
local state, cursor, want, look, brief = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[7] == '1'
local filter = cjson.decode(ARGV[6])
local places = redis.call('HGET', root .. 'meta', 'places') or ''
local reply = {'', 0, 0, now}
local bytes, CHUNK, MOST_BYTES = 0, 25, 4000000

local function holds(text) return string.find(string.lower(text), filter.text, 1, true) end

local function in_time(ms)
  ms = tonumber(ms) or 0
  return (not filter.younger or ms >= now - filter.younger) and (not filter.older or ms <= now - filter.older)
    and (not filter.until_ms or ms <= filter.until_ms)
end

local function keep(id, item, size)
  reply[#reply + 1] = id
  reply[#reply + 1] = brief and {} or item
  bytes = bytes + size
end

-- A job that has not ended.
local function consider(id, kind, detail, place, fields, born)
  local name, text, created, size = '', id, born, 0
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    size = size + #value
    if field == 'name' then name = value end
    if field == 'created' then created = value end
    if field == 'payload' or field == 'meta' or field == 'errors' then text = text .. '\n' .. value end
  end
  if filter.level and filter.level ~= tonumber(string.sub(place, -1)) then return end
  if filter.name and filter.name ~= name then return end
  if not in_time(created) or (filter.text and not holds(text)) then return end
  keep(id, {kind, detail, redis.call('HGET', root .. 'joined', id) or '', place, fields}, brief and 0 or size)
end

-- The last entry of a place that was handed to a worker; what is younger waits.
local function delivered(place)
  local groups = redis.pcall('XINFO', 'GROUPS', root .. place)
  if groups.err then return '0-0' end
  for _, group in ipairs(groups) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then return group[i + 1] end
    end
  end
  return '0-0'
end

-- True where entry id `a` is younger than `b`.
local function younger(a, b)
  local a_ms, a_n = string.match(a, '^(%d+)%-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)%-(%d+)$')
  if a_ms ~= b_ms then return tonumber(a_ms) > tonumber(b_ms) end
  return tonumber(a_n) > tonumber(b_n)
end

-- True where no more is to be looked at in this step.
local function enough() return (#reply - 4) / 2 >= want or reply[2] >= look or bytes >= MOST_BYTES end

local function size_of_step() return math.min(CHUNK, look - reply[2], math.ceil(want - (#reply - 4) / 2)) end

local function list_waiting(place, from)
  local last = delivered(place)
  if not from or younger(last, from) then from = last end
  while true do
    if enough() then
      reply[1] = place .. ' ' .. from
      return
    end
    local entries = redis.call('XRANGE', root .. place, '(' .. from, '+', 'COUNT', size_of_step())
    if #entries == 0 then return end
    for _, entry in ipairs(entries) do
      from = entry[1]
      if filter.until_ms and tonumber(string.match(from, '^%d+')) > filter.until_ms then return end
      reply[2] = reply[2] + 1
      local id = entry[2][1] == 'id' and entry[2][2] or string.sub(place, -1) .. '-' .. entry[1]
      consider(id, 'waiting', entry[1], place, entry[2], string.match(entry[1], '^%d+'))
    end
  end
end

local function list_active(place, from)
  from = from or '0-0'
  while true do
    if enough() then
      reply[1] = place .. ' ' .. from
      return
    end
    local pending = redis.pcall('XPENDING', root .. place, 'workers', '(' .. from, '+', size_of_step())
    if pending.err or #pending == 0 then return end
    for _, held in ipairs(pending) do
      from = held[1]
      reply[2] = reply[2] + 1
      local entry = redis.call('XRANGE', root .. place, from, from)[1]
      if entry then
        local id = entry[2][1] == 'id' and entry[2][2] or string.sub(place, -1) .. '-' .. from
        consider(id, 'active', held[2], place, entry[2], string.match(from, '^%d+'))
      end
    end
  end
end

-- Jobs in the lines of their keys, by level and age.
local function list_keyed(from)
  while true do
    if enough() then
      reply[1] = 'keyed ' .. from
      return
    end
    local step = read_on(root .. 'keyed', from, size_of_step())
    if #step == 0 then return end
    for i = 1, #step, 2 do
      from = step[i + 1] .. ' ' .. step[i]
      reply[2] = reply[2] + 1
      local fields, level = kept_fields(step[i])
      if fields then consider(step[i], 'waiting', limit_key(fields) or '', 'kept:' .. level, fields, 0) end
    end
  end
end

if state == 'waiting' or state == 'active' then
  local at, from = string.match(cursor, '^(%S+) (%S+)$')
  local reached = cursor == ''
  for place in string.gmatch(places, '%S+') do
    local pending = redis.pcall('XPENDING', root .. place, 'workers')
    local active = not pending.err and pending[1] or 0
    reply[3] = reply[3] + (state == 'active' and active or redis.call('XLEN', root .. place) - active)
    if not reached and place == at then reached = true end
    if reached and reply[1] == '' then
      local walk = state == 'waiting' and list_waiting or list_active
      walk(place, place == at and from or nil)
    end
  end
  if state == 'waiting' then
    reply[3] = reply[3] + redis.call('ZCARD', root .. 'keyed')
    if reply[1] == '' then list_keyed(string.match(cursor, '^keyed (.*)$') or '') end
  end
  return reply
end

local list = root .. state
local ended = state == 'completed' or state == 'failed' or state == 'cancelled' or state == 'dead'
local records = root .. (state == 'dead' and 'buried' or 'ended')
reply[3] = redis.call('ZCARD', list)
while true do
  if enough() then
    reply[1] = cursor
    return reply
  end
  local step = read_on(list, cursor, size_of_step(), ended and ARGV[8] ~= '1')
  if #step == 0 then return reply end
  local bodies = {}
  if ended then
    local ids = {}
    for i = 1, #step, 2 do ids[#ids + 1] = step[i] end
    bodies = redis.call('HMGET', records, unpack(ids))
  end
  for i = 1, #step, 2 do
    local member = step[i]
    cursor = step[i + 1] .. ' ' .. member
    reply[2] = reply[2] + 1
    if ended then
      local record = bodies[(i + 1) / 2]
      if record and (not filter.named or string.find(record, filter.named, 1, true))
        and (not filter.level or string.find(record, '"priority":' .. filter.level, 1, true))
        and in_time(string.match(record, '"finished_ms":(%d+)')) and (not filter.text or holds(record)) then
        keep(member, {'ended', record, redis.call('HGET', root .. 'joined', member) or ''}, brief and 0 or #record)
      end
    else
      local id, detail = member, ''
      if state == 'delayed' then id, detail = string.sub(member, 17), step[i + 1] end
      if state == 'parked' then detail, id = string.match(member, '^(%S+) %d+ (.*)$') end
      if state == 'blocked' then
        detail = string.match(redis.call('HGET', root .. 'index', id) or '', '^%S+ (.*)$') or ''
      end
      local fields, level = kept_fields(id or '')
      if fields then consider(id, state, detail, 'kept:' .. level, fields, 0) end
    end
  end
end
