-- promote_now: delayed → waiting (front)
-- Makes delayed jobs runnable at once, before all others of their level, whenever they are due.
--
-- KEYS  1 root
-- ARGV  1 time  2 jobs to move at most where no ids follow: those due next  3… ids (a few hundred at most)
-- Returns one verdict for each id: 'promoted', 'missing', or the state that it is in; without ids, the number of jobs
-- moved.
-- include: root places events limits moves finding
local places = redis.call('HGET', root .. 'meta', 'places') or ''
check_places(places, true)
redis.call('XLEN', root .. 'events')
redis.call('ZCARD', root .. 'bell')
redis.call('ZCARD', root .. 'delayed')
redis.call('HLEN', root .. 'index')
redis.call('HLEN', root .. 'ended')
for i = 3, #ARGV do redis.call('STRLEN', root .. 'result:' .. ARGV[i]) end
local moved = {}

local function move(member)
  local id = string.sub(member, 17)
  redis.call('ZREM', root .. 'delayed', member)
  local fields, level = kept_fields(id)
  if not fields then return end
  redis.call('DEL', root .. 'job:' .. id)
  places = put_waiting('front:' .. level, id, fields, places)
  moved[#moved + 1] = id
end

local reply = {}
if #ARGV == 2 then
  for _, member in ipairs(redis.call('ZRANGE', root .. 'delayed', 0, tonumber(ARGV[2]) - 1)) do move(member) end
  reply = #moved
else
  for i = 3, #ARGV do
    local state, detail = find(ARGV[i])
    if state == 'delayed' then
      move(string.match(redis.call('HGET', root .. 'index', ARGV[i]), '^%S+ (.*)$'))
      state = 'promoted'
    elseif state == 'ended' then
      state = string.match(detail, '"state":"(%a+)"') or state
    end
    reply[#reply + 1] = state or 'missing'
  end
end
if #moved > 0 then
  tell(#moved, 'waiting', table.concat(moved, ' '))
  ring()
end
return reply
