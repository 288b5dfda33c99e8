import Testing
import Vectors

@Suite struct VectorEncodingTests {
    private func encoded(_ encoding: VectorEncoding, _ rows: [Float], dimensions: Int, leading: Int) -> [UInt8] {
        var out: [UInt8] = []
        rows.withUnsafeBufferPointer {
            encoding.append($0, dimensions: dimensions, leading: leading, to: &out)
        }
        #expect(out.count == encoding.byteCount(rows: rows.count / dimensions, dimensions: leading))
        return out
    }

    @Test func `binary32 is little-endian`() {
        #expect(encoded(.float32, [1, -0.0], dimensions: 2, leading: 2) == [0, 0, 0x80, 0x3f, 0, 0, 0, 0x80])
    }

    @Test func `binary16 rounds ties to even`() {
        // 1 + 2⁻¹¹ lies between 1 (even) and 1 + 2⁻¹⁰; 1 + 3·2⁻¹¹ between 1 + 2⁻¹⁰ and 1 + 2⁻⁹ (even).
        let rows: [Float] = [1 + 0x1p-11, 1 + 0x3p-11]
        #expect(encoded(.float16, rows, dimensions: 2, leading: 2) == [0x00, 0x3c, 0x02, 0x3c])
    }

    @Test func `int8 puts the scales behind the rows`() {
        let bytes = encoded(.int8, [127, -63.5, 0, 0], dimensions: 2, leading: 2)
        // −63.5 is a tie and goes to the even −64.
        #expect(bytes == [127, 0xc0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0])
    }

    @Test func `binary sets the bit of dimension 0 highest`() {
        #expect(encoded(.binary, [1, 0, -1, 2, 0, 0, 0, 5], dimensions: 8, leading: 8) == [0b1001_0001])
    }

    @Test func `leading dimensions are normalised again, and an error row stays zero`() {
        let bytes = encoded(.float32, [0.6, 0.8, 0, 0, 0, 0], dimensions: 3, leading: 1)
        #expect(bytes == [0, 0, 0x80, 0x3f, 0, 0, 0, 0])
    }
}
