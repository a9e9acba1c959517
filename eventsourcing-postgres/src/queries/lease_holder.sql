SELECT holder, token, ceil(extract(epoch FROM until - now()) * 1000)::bigint AS milliseconds_left
FROM leases
WHERE follower = $1 AND upstream = $2 AND until > now()
