import Glibc

/// cos(π · x).
func cosine(ofHalfTurns x: Double) -> Double { cos(.pi * x) }

/// base to the power of a whole number.
func power(_ base: Double, _ exponent: Int) -> Double { pow(base, Double(exponent)) }
