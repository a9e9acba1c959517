SELECT holder, token, milliseconds_left, position_reached FROM take_lease($1, $2, $3, $4)
