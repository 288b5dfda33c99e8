// bid_top_k: the strongest rules of each text, best first.
//
//   bids       n × H, row-major, not negative
//   winners    n × limit: rules with positive bids in falling order of bid, equals in rising order of rule;
//              0xffffffff behind the last
//   strengths  n × limit: their bids; 0 behind the last
//
// One work-item a text, which keeps its list in its rows of the output: global size n > 0; limit > 0. Cost
// H + (entries that enter) × limit. Twin: `PlainKernels.topRules`; equal bit for bit.

kernel void bid_top_k(const uint H, const uint limit, global const float *restrict bids, global uint *restrict winners,
                      global float *restrict strengths) {
    const size_t text = get_global_id(0);
    global const float *row = bids + text * H;
    global uint *winner = winners + text * limit;
    global float *strength = strengths + text * limit;
    for (uint place = 0; place < limit; place++) {
        winner[place] = 0xffffffff;
        strength[place] = 0;
    }
    for (uint r = 0; r < H; r++) {
        const float bid = row[r];
        if (!(bid > strength[limit - 1])) continue;
        uint place = limit - 1;
        for (; place > 0 && bid > strength[place - 1]; place--) {
            strength[place] = strength[place - 1];
            winner[place] = winner[place - 1];
        }
        strength[place] = bid;
        winner[place] = r;
    }
}
