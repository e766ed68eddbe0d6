-- let_go: – (nothing moves)
-- Takes a parent away from a child that it lets go.
--
-- KEYS  1 root
-- ARGV  1 time  2 child id  3 '<queue> <parent id> <key>'  4 '1' where the child may not know of the parent: what doesn't
--       is none of its children, and what does keeps it until it ends, so that a repetition finds the same
-- Returns {'kept', parents left} where others wait for the child, or it is none; else {'alone', state}, state '' where it is gone.
-- include: root places events limits moves finding
redis.call('HLEN', root .. 'parents')
local links = redis.call('HGET', root .. 'parents', ARGV[2]) or ''
local left, ours = {}, ARGV[4] ~= '1'
for link in string.gmatch(links, '[^\n]+') do
  if link == ARGV[3] or string.sub(link, 1, #ARGV[3] + 1) == ARGV[3] .. ' ' then
    ours = true
  else
    left[#left + 1] = link
  end
end
if not ours then return {'kept', #left} end
if #left > 0 then
  redis.call('HSET', root .. 'parents', ARGV[2], table.concat(left, '\n'))
  return {'kept', #left}
end
if ARGV[4] ~= '1' then redis.call('HDEL', root .. 'parents', ARGV[2]) end
return {'alone', find(ARGV[2]) or ''}
