-- let_go: – (nothing moves)
-- Takes a parent away from a child that it lets go.
--
-- KEYS  1 root
-- ARGV  1 time  2 child id  3 '<queue> <parent id> <key>'
-- Returns {'kept', parents left} where others wait for the child; else {'alone', state}, state '' where it is gone.
-- include: root places events limits moves finding
redis.call('HLEN', root .. 'parents')
local links = redis.call('HGET', root .. 'parents', ARGV[2]) or ''
local left = {}
for link in string.gmatch(links, '[^\n]+') do
  if link ~= ARGV[3] then left[#left + 1] = link end
end
if #left > 0 then
  redis.call('HSET', root .. 'parents', ARGV[2], table.concat(left, '\n'))
  return {'kept', #left}
end
redis.call('HDEL', root .. 'parents', ARGV[2])
return {'alone', find(ARGV[2]) or ''}
