SELECT position FROM tracking WHERE follower = $1 AND upstream = $2
