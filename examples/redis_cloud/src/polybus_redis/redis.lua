-- Everything that polybus does in Redis, each call whole or not at all. KEYS[1] is the stream S of a topic, a
-- subscription, a queue or dead letters; what else there is of it has a key that begins with S. ARGV: the operation, the
-- milliseconds by which the caller's clock is ahead (0, but in tests that own the time), and what the operation takes.
--
-- S is the messages, in fields that anybody can read and write. S:due has those that may be received at a time, S:out
-- those that are leased until a time, S:attempts and S:leases the number of each one's deliveries and of its lease.
-- Of an ordering key only the first message is in either; S:first says which, S:then:KEY which come after it.
local S = KEYS[1]
local DUE, OUT, ATTEMPTS, LEASES, STATE = S .. ':due', S .. ':out', S .. ':attempts', S .. ':leases', S .. ':state'
local FIRST, THEN, NEWS = S .. ':first', S .. ':then:', S .. ':news'
local call, operations = redis.call, {}
local offset, seconds = tonumber(ARGV[2]), redis.call('TIME')
local real = seconds[1] * 1000 + math.floor(seconds[2] / 1000)
local now = real + offset
local MOST = 7900 -- fields and values that Lua can pass on in one call

local function map(list)
  local found = {}
  for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
  return found
end
local function int(number) return string.format('%.0f', number) end

local conf = map(call('HGETALL', S .. ':conf'))
if not next(conf) then return redis.error_reply('NOENTITY nothing is provisioned at ' .. S) end

local function at(id) return tonumber(string.match(id, '^%d+')) + offset end
local function born(id, fields) return tonumber(fields[':t']) or at(id) end
local function ready(id, fields) return born(id, fields) + (tonumber(fields[':delay']) or 0) end
local function over(id, fields) return (tonumber(fields[':x']) or born(id, fields) + conf.retention) <= now end
local function key_of(fields) return conf.ordered and fields[':key'] or nil end
local function find(id) return call('XRANGE', S, id, id)[1] end
local function leased(id) return (tonumber(call('ZSCORE', OUT, id) or 0)) > now end
local function attempts(id) return tonumber(call('HGET', ATTEMPTS, id) or 0) end
local function holds(id, lease) return leased(id) and call('HGET', LEASES, id) == lease end
local function tell() call('XADD', NEWS, 'MAXLEN', 1, '*', 'news', '') end

-- The first of a key is gone: the next one that is still there may be received.
local function advance(key)
  local id = call('LPOP', THEN .. key)
  while id do
    local entry = find(id)
    if entry then
      call('HSET', FIRST, key, id)
      call('ZADD', DUE, int(math.max(now, ready(id, map(entry[2])))), id)
      return tell()
    end
    id = call('LPOP', THEN .. key)
  end
  call('HDEL', FIRST, key)
end
local function drop(id, key)
  call('ZREM', DUE, id); call('ZREM', OUT, id); call('HDEL', ATTEMPTS, id); call('HDEL', LEASES, id); call('XDEL', S, id)
  if not key then return end
  if call('HGET', FIRST, key) == id then advance(key) else call('LREM', THEN .. key, 1, id) end
end
-- Another program deleted it from the stream, so that nothing says what its key was.
local function forget(id)
  drop(id)
  for key, first in pairs(map(call('HGETALL', FIRST))) do if first == id then advance(key) end end
end
local function bury(id, fields, reason, description)
  local key, letter = key_of(fields), {}
  fields[':t'], fields[':id'], fields[':delay'] = int(born(id, fields)), fields[':id'] or id, nil
  fields[':m'], fields[':r'], fields[':d'] = int((tonumber(fields[':m']) or 0) + 1), reason, description
  fields[':x'] = int(now + conf.dead_retention)
  for name, value in pairs(fields) do letter[#letter + 1] = name; letter[#letter + 1] = value end
  call('XADD', conf.dead, '*', unpack(letter))
  drop(id, key)
end

local function passes(node, fields)
  local kind, a, b = node[1], node[2], node[3]
  if kind == 'and' then for _, each in ipairs(a) do if not passes(each, fields) then return false end end return true end
  if kind == 'or' then for _, each in ipairs(a) do if passes(each, fields) then return true end end return false end
  if kind == 'not' then return not passes(a, fields) end
  local value = fields[a]
  if value == nil then return false end
  if kind == 'exists' then return true end
  if kind == 'prefix' then return string.sub(value, 1, #b) == b end
  local found = false
  for _, each in ipairs(b) do found = found or each == value end
  return found == (kind == 'in')
end
local function earlier(one, other)
  local a, b = string.match(one, '(%d+)-(%d+)')
  local c, d = string.match(other, '(%d+)-(%d+)')
  return tonumber(a) < tonumber(c) or (a == c and tonumber(b) < tonumber(d))
end
-- Take what is new in the topic through the filter. What all its subscriptions have taken goes.
local function pump(limit)
  local cursors = conf.topic and conf.topic .. ':cursors'
  local cursor = cursors and call('HGET', cursors, S)
  if not cursor then return 0 end
  local entries = call('XRANGE', conf.topic, '(' .. cursor, '+', 'COUNT', limit)
  if #entries == 0 then return 0 end
  local filter = conf.filter and cjson.decode(conf.filter)
  for _, entry in ipairs(entries) do
    local id, list, fields = entry[1], entry[2], map(entry[2])
    if not over(id, fields) and (not filter or passes(filter, fields)) then
      if not fields[':t'] then list[#list + 1] = ':t'; list[#list + 1] = int(born(id, fields)) end
      if not fields[':id'] then list[#list + 1] = ':id'; list[#list + 1] = id end
      if #list <= MOST then call('XADD', S, '*', unpack(list)) else redis.log(redis.LOG_WARNING, S .. ' leaves out ' .. id) end
    end
  end
  call('HSET', cursors, S, entries[#entries][1])
  local least = entries[#entries][1]
  for _, each in ipairs(call('HVALS', cursors)) do if earlier(each, least) then least = each end end
  call('XTRIM', conf.topic, 'MINID', least)
  return #entries
end
-- Say of what is new in the stream when it may be received.
local function admit(limit)
  local entries = call('XRANGE', S, '(' .. (call('HGET', STATE, 'taken') or '0-0'), '+', 'COUNT', limit)
  for _, entry in ipairs(entries) do
    local id, fields = entry[1], map(entry[2])
    local key = key_of(fields)
    if key and call('HEXISTS', FIRST, key) == 1 then
      call('RPUSH', THEN .. key, id)
    else
      if key then call('HSET', FIRST, key, id) end
      call('ZADD', DUE, int(ready(id, fields)), id)
    end
  end
  if #entries > 0 then call('HSET', STATE, 'taken', entries[#entries][1]) end
  return #entries
end
local function take_in(limit)
  local pumped = pump(limit)
  return admit(limit) + pumped
end
local function take_all() for _ = 1, 10 do if take_in(1000) == 0 then return end end end
-- Drop what is over its retention and isn't leased, as far as the first that isn't over, or `count`.
local function sweep(count)
  for _, entry in ipairs(call('XRANGE', S, '-', '+', 'COUNT', count)) do
    local fields = map(entry[2])
    if over(entry[1], fields) and not leased(entry[1]) then drop(entry[1], key_of(fields)) end
  end
end
local function last(stream)
  return call('EXISTS', stream) == 1 and map(call('XINFO', 'STREAM', stream))['last-generated-id'] or '0-0'
end

-- What is asked: '1' where messages move back, then for each the number of its fields and values, and these.
function operations.publish()
  local back, i, stamp = ARGV[3] == '1', 4, {':t', int(now)}
  if back then stamp = {':x', int(now + conf.retention)} end
  if conf.keep and call('EXISTS', S .. ':cursors') == 0 then return 1 end -- a topic that nobody subscribes to
  while i <= #ARGV do
    local count = tonumber(ARGV[i])
    call('XADD', S, '*', stamp[1], stamp[2], unpack(ARGV, i + 1, i + count))
    i = i + count + 1
  end
  if conf.keep then call('XTRIM', S, 'MINID', '~', int(real - conf.keep)) end
  return 1
end
-- What is asked: how many, and the lease in ms. The answer: {id, attempt, lease, born, fields} of each, the ms until
-- something is due (-1: nothing is), and the ends of the streams in which news will be.
function operations.claim()
  local count, lease, claimed, looks = tonumber(ARGV[3]), tonumber(ARGV[4]), {}, 0
  local function deliver(id)
    local entry = find(id)
    if not entry then return forget(id) end
    local fields, made = map(entry[2]), attempts(id)
    if over(id, fields) then return drop(id, key_of(fields)) end
    if conf.net and made >= tonumber(conf.net) then
      return bury(id, fields, 'MaxAttemptsExceeded', 'delivered ' .. made .. ' times, never settled')
    end
    local number = call('HINCRBY', STATE, 'leases', 1)
    call('HSET', LEASES, id, number); call('HSET', ATTEMPTS, id, made + 1)
    call('ZREM', DUE, id); call('ZADD', OUT, int(now + lease), id)
    claimed[#claimed + 1] = {id, made + 1, number, int(born(id, fields)), entry[2]}
  end
  sweep(10)
  local ended = call('ZRANGEBYSCORE', OUT, '-inf', int(now), 'WITHSCORES', 'LIMIT', 0, 1000)
  for i = 1, #ended, 2 do call('ZREM', OUT, ended[i]); call('ZADD', DUE, ended[i + 1], ended[i]) end
  take_in(count)
  while #claimed < count and looks < 20 do
    local ids = call('ZRANGEBYSCORE', DUE, '-inf', int(now), 'LIMIT', 0, count - #claimed)
    if #ids == 0 and take_in(200) == 0 then break end
    for _, id in ipairs(ids) do deliver(id) end
    looks = looks + 1
  end
  local wait = looks == 20 and 0 or -1
  for _, each in ipairs({DUE, OUT}) do
    local next_one = call('ZRANGE', each, 0, 0, 'WITHSCORES')[2]
    local left = next_one and math.max(tonumber(next_one) - now, 0)
    if left and (wait < 0 or left < wait) then wait = left end
  end
  return {claimed, wait, last(S), last(NEWS), conf.topic and last(conf.topic) or false}
end
-- What is asked, for each: what, id, lease, and the delay in ms and the attempts, or the reason and the description.
-- The answer: 1 where it is done, 0 where the lease is lost.
function operations.settle()
  local answers = {}
  for i = 3, #ARGV, 5 do
    local what, id, a, b = ARGV[i], ARGV[i + 1], ARGV[i + 3], ARGV[i + 4]
    local entry, answer = holds(id, ARGV[i + 2]) and find(id), 1
    if not entry then
      answer = 0
    elseif what == 'ack' then
      drop(id, key_of(map(entry[2])))
    elseif what == 'nack' then
      if b ~= '' then call('HSET', ATTEMPTS, id, b) end
      call('ZREM', OUT, id); call('ZADD', DUE, int(now + a), id)
      tell()
    else
      bury(id, map(entry[2]), a, b)
    end
    answers[#answers + 1] = answer
  end
  return answers
end
-- What is asked: ms, then id and lease of each.
function operations.extend()
  local answers = {}
  for i = 4, #ARGV, 2 do
    local good = holds(ARGV[i], ARGV[i + 1])
    if good then call('ZADD', OUT, int(now + ARGV[3]), ARGV[i]) end
    answers[#answers + 1] = good and 1 or 0
  end
  return answers
end
-- The answer: how many wait, are leased, are delayed, are dead letters, and the age in ms of the oldest that waits (-1).
function operations.stats()
  take_all()
  sweep(1000)
  local out, delayed, oldest = call('ZCOUNT', OUT, '(' .. int(now), '+inf'), call('ZCOUNT', DUE, '(' .. int(now), '+inf'), -1
  for _, entry in ipairs(call('XRANGE', S, '-', '+', 'COUNT', 1000)) do
    if not leased(entry[1]) and tonumber(call('ZSCORE', DUE, entry[1]) or 0) <= now then
      oldest = math.max(now - born(entry[1], map(entry[2])), 0)
      break
    end
  end
  return {call('XLEN', S) - out - delayed, out, delayed, conf.dead and call('XLEN', conf.dead) or false, oldest}
end
-- What is asked: how many, and from where. The answer is as that of claim.
function operations.peek()
  take_all()
  sweep(1000)
  local found = {}
  for _, entry in ipairs(call('XRANGE', S, ARGV[4], '+', 'COUNT', ARGV[3])) do
    found[#found + 1] = {entry[1], attempts(entry[1]), int(at(entry[1])), int(born(entry[1], map(entry[2]))), entry[2]}
  end
  return found
end
-- What is asked: from where. Deletes what isn't leased of the next 1,000; the answer: how many, and where to go on.
function operations.purge()
  take_all()
  local entries, count = call('XRANGE', S, ARGV[3], '+', 'COUNT', 1000), 0
  for _, entry in ipairs(entries) do
    if not leased(entry[1]) then
      drop(entry[1], key_of(map(entry[2])))
      count = count + 1
    end
  end
  return {count, #entries > 0 and '(' .. entries[#entries][1] or ''}
end

return operations[ARGV[1]]()
