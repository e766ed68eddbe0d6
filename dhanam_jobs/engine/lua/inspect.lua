-- inspect: – (reads only)
-- One bounded step of checking what must always be true, atomic within the step.
--
-- KEYS  1 root
-- ARGV  1 time  2 what  3 cursor, or what it is about  4 cursor within a place
--       what: counts
--             index | ended | completed | failed | cancelled | delayed | blocked | parked | unique | joined | dead |
--             buried | notes | cancelling | runs | keyed | turns | resting | holding | running | families | parents | planned |
--             untold: a cursor
--             entries | claims: a place; 4 the last stream entry id seen, or ''
--             key: what follows the root in the name of a key, as SCAN finds it
-- Returns for counts a flat list of name and number; else {next cursor ('0' or '' at the end), problem, problem, …}.
-- include: root places events limits moves finding
local what, cursor = ARGV[2], ARGV[3]
local places = redis.call('HGET', root .. 'meta', 'places') or ''
local problems = {}
local function problem(...) problems[#problems + 1] = table.concat({...}) end

if what == 'counts' then
  local meta = redis.call('HMGET', root .. 'meta', 'added', 'completed', 'failed', 'cancelled', 'removed', 'revived')
  local streamed, active = 0, 0
  for place in string.gmatch(places, '%S+') do
    local pending = redis.pcall('XPENDING', root .. place, 'workers')
    streamed = streamed + redis.call('XLEN', root .. place)
    active = active + (not pending.err and pending[1] or 0)
  end
  return {'added', tonumber(meta[1] or 0), 'completed', tonumber(meta[2] or 0), 'failed', tonumber(meta[3] or 0),
    'cancelled', tonumber(meta[4] or 0), 'removed', tonumber(meta[5] or 0), 'revived', tonumber(meta[6] or 0),
    'waiting', streamed - active + redis.call('ZCARD', root .. 'keyed'), 'active', active, 'delayed', redis.call('ZCARD', root .. 'delayed'),
    'blocked', redis.call('ZCARD', root .. 'blocked'), 'parked', redis.call('ZCARD', root .. 'parked'),
    'dead', redis.call('ZCARD', root .. 'dead'), 'buried', redis.call('HLEN', root .. 'buried'),
    'records', redis.call('HLEN', root .. 'ended'), 'retained', redis.call('ZCARD', root .. 'completed')
    + redis.call('ZCARD', root .. 'failed') + redis.call('ZCARD', root .. 'cancelled')}
end

-- True where entry id `a` is younger than `b`.
local function younger(a, b)
  local a_ms, a_n = string.match(a, '^(%d+)%-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)%-(%d+)$')
  if a_ms ~= b_ms then return tonumber(a_ms) > tonumber(b_ms) end
  return tonumber(a_n) > tonumber(b_n)
end

if what == 'entries' then
  local place, from = cursor, ARGV[4]
  local entries = redis.call('XRANGE', root .. place, from == '' and '-' or '(' .. from, '+', 'COUNT', 200)
  local next_cursor = ''
  local last = '0-0'
  local groups = redis.pcall('XINFO', 'GROUPS', root .. place)
  if not groups.err and groups[1] then
    for i = 1, #groups[1], 2 do
      if groups[1][i] == 'last-delivered-id' then last = groups[1][i + 1] end
    end
  end
  local held = {}
  if #entries > 0 then
    local pending = redis.pcall('XPENDING', root .. place, 'workers', entries[1][1], entries[#entries][1], 200)
    for _, one in ipairs(pending) do held[one[1]] = true end
  end
  for _, entry in ipairs(entries) do
    next_cursor = entry[1]
    local map = {}
    for i = 1, #entry[2], 2 do map[entry[2][i]] = entry[2][i + 1] end
    if not map.name or not map.payload then
      problem(place, ' ', entry[1], ': an entry without name or payload')
    end
    if string.sub(place, 1, 9) == 'admitted:' and redis.call('HEXISTS', root .. 'holding', place .. ' ' .. entry[1]) == 0 then
      problem(place, ' ', entry[1], ': runs without a share of its key')
    end
    if not younger(entry[1], last) and not held[entry[1]] then
      problem(place, ' ', entry[1], ': was handed to a worker, but nobody holds it')
    end
    if map.id and redis.call('HGET', root .. 'index', map.id) ~= place .. ' ' .. entry[1] then
      problem(place, ' ', entry[1], ': job ', map.id, ' is not where the index says')
    end
  end
  return {#entries == 200 and next_cursor or '', unpack(problems)}
end

if what == 'claims' then
  local place, from = cursor, ARGV[4]
  local pending = redis.pcall('XPENDING', root .. place, 'workers', from == '' and '-' or '(' .. from, '+', 200)
  if pending.err then return {'', place .. ': its group of workers is gone'} end
  local next_cursor = ''
  for _, held in ipairs(pending) do
    next_cursor = held[1]
    if not redis.call('ZSCORE', root .. 'workers', held[2]) then
      problem(place, ' ', held[1], ': claimed by ', held[2], ', which is no live worker')
    end
    if #redis.call('XRANGE', root .. place, held[1], held[1]) == 0 then
      problem(place, ' ', held[1], ': claimed by ', held[2], ', but the entry is gone')
    end
  end
  return {#pending == 200 and next_cursor or '', unpack(problems)}
end

-- True where the list of jobs that wait for a unique key names this one.
local function is_held(key, id)
  local held = redis.pcall('LRANGE', root .. 'held:' .. key, 0, -1)
  for _, member in ipairs(held) do
    if string.sub(member, 42) == id then return true end
  end
  return false
end

if what == 'key' then
  if redis.call('EXISTS', root .. cursor) == 0 then return {''} end -- gone since it was found
  local kind, rest = string.match(cursor, '^(%a+):?(.*)$')
  if kind == 'job' then
    local where = redis.call('HGET', root .. 'index', rest) or ''
    local place = string.match(where, '^%S+')
    -- What clear threw away goes with its trash.
    local thrown_away = redis.call('EXISTS', root .. 'trash:delayed', root .. 'trash:parked') > 0
    if place ~= 'delayed' and place ~= 'blocked' and place ~= 'parked' and place ~= 'keyed' and not thrown_away then
      problem(cursor, ': kept beside the streams, but the index says "', where, '"')
    end
  elseif kind == 'held' then
    if redis.call('HEXISTS', root .. 'unique', rest) == 0 then
      problem(cursor, ': jobs wait for a key that nobody holds')
    end
    for _, member in ipairs(redis.call('LRANGE', root .. cursor, 0, -1)) do
      local id = string.sub(member, 42)
      if redis.call('HGET', root .. 'index', id) ~= 'blocked ' .. rest then
        problem(cursor, ': names ', id, ', which does not wait for it')
      end
    end
  elseif kind == 'children' or kind == 'child_ends' then
    if redis.call('HEXISTS', root .. 'families', rest) == 0 then problem(cursor, ': of a job that has no family') end
  elseif kind == 'worker' then
    if not redis.call('ZSCORE', root .. 'workers', rest) then
      problem(cursor, ': the row of a worker without a lease')
    end
  elseif kind == 'inbox' then
    if not redis.call('ZSCORE', root .. 'workers', rest) then problem(cursor, ': messages for a worker that is gone') end
  elseif kind == 'log' then
    local noted = redis.call('HEXISTS', root .. 'notes', rest) + redis.call('HEXISTS', root .. 'trash:notes', rest) > 0
    if not noted then problem(cursor, ': lines of a job that has no notes') end
  elseif kind == 'result' or kind == 'metrics' and rest ~= '' or kind == 'throttled' or kind == 'sweeping' then
    if redis.call('PTTL', root .. cursor) == -1 then problem(cursor, ': kept without an end') end
  elseif kind == 'starts' or kind == 'limited' then
    if redis.call('PTTL', root .. cursor) == -1 then problem(cursor, ': kept without an end') end
  elseif kind == 'keyed' and rest ~= '' then
    local first = redis.call('ZRANGE', root .. cursor, 0, 199)
    for _, id in ipairs(first) do
      if redis.call('HGET', root .. 'index', id) ~= 'keyed ' .. rest then
        problem(cursor, ': holds ', id, ', which does not wait in it')
      end
    end
    if not redis.call('ZSCORE', root .. 'turns', rest) and not redis.call('ZSCORE', root .. 'resting', rest)
      and may_start(rest) then
      problem(cursor, ': jobs wait for a turn that never comes')
    end
  elseif kind == 'untold' and rest ~= '' then
    for _, member in ipairs(redis.call('ZRANGE', root .. cursor, 0, 199)) do
      if redis.call('HEXISTS', root .. 'untold', member) == 0 then
        problem(cursor, ': names ', member, ', whose record is gone')
      end
    end
  elseif kind == 'front' or kind == 'waiting' or kind == 'admitted' then
    if not string.find(places, cursor, 1, true) then problem(cursor, ': a stream that no worker reads') end
  end
  return {'', unpack(problems)}
end

local hashes = {index = true, ended = true, unique = true, joined = true, buried = true, notes = true, cancelling = true,
  runs = true, holding = true, running = true, families = true, parents = true, planned = true, untold = true}
local step = redis.call(hashes[what] and 'HSCAN' or 'ZSCAN', root .. what, cursor, 'COUNT', 200)
local shares
for i = 1, #step[2], 2 do
  local item, value = step[2][i], step[2][i + 1]
  if what == 'index' then
    local state = find(item)
    if not state or state == 'ended' then problem('index ', item, ': "', value, '" leads nowhere') end
    if string.find(value, '^delayed ') and not redis.call('ZSCORE', root .. 'delayed', string.sub(value, 9)) then
      problem('index ', item, ': "', value, '", but it is not among the delayed')
    end
    if string.find(value, '^blocked ') and not redis.call('ZSCORE', root .. 'blocked', item) then
      problem('index ', item, ': "', value, '", but it is not among the blocked')
    end
    if string.find(value, '^keyed ') and not (redis.call('ZSCORE', root .. 'keyed', item)
      and redis.call('ZSCORE', root .. 'keyed:' .. string.sub(value, 7), item)) then
      problem('index ', item, ': "', value, '", but it is not in that line')
    end
    if string.find(value, '^parked ') and not redis.call('ZSCORE', root .. 'parked', string.sub(value, 8)) then
      problem('index ', item, ': "', value, '", but it is not among the parked')
    end
    if redis.call('HEXISTS', root .. 'ended', item) == 1 then problem('job ', item, ': both ended and ', value) end
  elseif what == 'ended' then
    local state = string.match(value, '"state":"(%a+)"')
    if not state or not redis.call('ZSCORE', root .. state, item) then
      problem('ended ', item, ': a record that no list of ended jobs holds')
    end
  elseif what == 'completed' or what == 'failed' or what == 'cancelled' then
    if redis.call('HEXISTS', root .. 'ended', item) == 0 then problem(what, ' ', item, ': its record is gone') end
  elseif what == 'dead' then
    if redis.call('HEXISTS', root .. 'buried', item) == 0 then problem('dead ', item, ': its record is gone') end
  elseif what == 'buried' then
    if not redis.call('ZSCORE', root .. 'dead', item) then
      problem('buried ', item, ': a record that the list of dead letters does not hold')
    end
  elseif what == 'notes' then
    if not find(item) then problem('notes ', item, ': of no job') end
  elseif what == 'cancelling' then
    if find(item) ~= 'active' then problem('cancelling ', item, ': a job that does not run') end
  elseif what == 'runs' then
    local state = find(item)
    if not state or state == 'ended' then problem('runs ', item, ': schedule ', value, ' waits for a job that is gone') end
  elseif what == 'keyed' then
    local place = string.match(redis.call('HGET', root .. 'index', item) or '', '^%S+')
    if place ~= 'keyed' then problem('keyed ', item, ': in line, but the index says "', place or '', '"') end
    if redis.call('EXISTS', root .. 'job:' .. item) == 0 then problem('keyed ', item, ': its body is gone') end
  elseif what == 'turns' or what == 'resting' then
    if redis.call('EXISTS', root .. 'keyed:' .. item) == 0 then problem(what, ' ', item, ': a key for which no job waits') end
  elseif what == 'holding' then
    local place, entry = string.match(item, '^(%S+) (%S+)$')
    if not place or #redis.call('XRANGE', root .. place, entry, entry) == 0 then
      problem('holding ', item, ': a share of key ', value, ' that no job runs with')
    end
  elseif what == 'running' then
    if not shares then
      shares = {}
      for _, key in ipairs(redis.call('HVALS', root .. 'holding')) do shares[key] = (shares[key] or 0) + 1 end
    end
    local held = shares[item] or 0
    if held ~= tonumber(value) then problem('running ', item, ': counts ', value, ', but ', held, ' run') end
  elseif what == 'families' then
    local id = string.match(item, '^%S+')
    local state = find(id)
    if not state or state == 'ended' then problem('families ', id, ': children of no live job') end
  elseif what == 'parents' then
    local state = find(item)
    if not state or state == 'ended' then problem('parents ', item, ': is gone, and its parents were not told') end
  elseif what == 'planned' then
    local id, key = string.match(item, '^(%S+) (%S+)$')
    if not id or redis.call('HEXISTS', root .. 'children:' .. id, key) == 0 then
      problem('planned ', item, ': a child of no parent')
    end
  elseif what == 'untold' then
    local name = string.gsub(string.match(value, '"name":"([^"]*)"') or '', '\\/', '/')
    if not redis.call('ZSCORE', root .. 'untold:' .. name, item) then
      problem('untold ', item, ': a failure that no hook will be told of')
    end
  elseif what == 'joined' then
    if not find(item) then problem('joined ', item, ': owners of no job') end
  elseif what == 'unique' then
    local owner = string.sub(value, 42)
    local state = find(owner)
    if not state or state == 'ended' then
      problem('unique key ', item, ': held by ', owner, ', which is no live job')
    end
  else
    local id = item
    if what == 'delayed' then id = string.sub(item, 17) end
    if what == 'parked' then id = string.match(item, '^%S+ %d+ (.*)$') or '' end
    if not kept_fields(id) then problem(what, ' ', id, ': its body is gone') end
    local place, rest = string.match(redis.call('HGET', root .. 'index', id) or '', '^(%S+) (.*)$')
    if place ~= what or what ~= 'blocked' and rest ~= item then
      problem(what, ' ', id, ': the index says otherwise')
    elseif rest == 'for children' then
      local children = redis.call('HLEN', root .. 'children:' .. id)
      if redis.call('HEXISTS', root .. 'families', id) == 0 or children == redis.call('HLEN', root .. 'child_ends:' .. id) then
        problem('blocked ', id, ': waits for children, but none is left to wait for')
      end
    elseif what == 'blocked' and not is_held(rest, id) then
      problem('blocked ', id, ': waits for key ', rest, ', whose list does not name it')
    end
  end
end
return {step[1], unpack(problems)}
