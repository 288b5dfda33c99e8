import Bytes
import CChecksums
import Testing

@Test func `the check value of CRC-32C is e3069283`() {
    Array("123456789".utf8).withUnsafeBytes { #expect(crc32c($0) == 0xe306_9283) }
}
