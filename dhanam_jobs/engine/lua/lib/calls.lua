-- The worker's row and its call numbers. ARGV[2] is the worker, ARGV[3] the number of this call, rising with each.
-- `call` is the highest number seen, `verdicts` those of the last settle or claim, `settled` its number.
-- A reply whose first item is 'dead' says that the row is gone: the worker was declared dead, or the data is lost.
local row = root .. 'worker:' .. ARGV[2]
local last = redis.call('HMGET', row, 'call', 'verdicts', 'settled')
if not last[1] then return {'dead', now} end
