UPDATE leases SET until = '-infinity' WHERE follower = $1 AND upstream = $2 AND token = $3
