// bid_arg_max: the strongest rule of each text.
//
//   bids       n × H, row-major, not negative
//   winners    n: the rule of the largest bid, the lowest of equals; 0xffffffff where no bid is positive
//   strengths  n: its bid, or 0
//
// One work-item a text: global size n > 0. Twin: `PlainKernels.argMax`; equal bit for bit.

kernel void bid_arg_max(const uint H, global const float *restrict bids, global uint *restrict winners,
                        global float *restrict strengths) {
    const size_t text = get_global_id(0);
    global const float *row = bids + text * H;
    uint winner = 0xffffffff;
    float strength = 0;
    for (uint r = 0; r < H; r++) {
        if (row[r] > strength) {
            strength = row[r];
            winner = r;
        }
    }
    winners[text] = winner;
    strengths[text] = strength;
}
