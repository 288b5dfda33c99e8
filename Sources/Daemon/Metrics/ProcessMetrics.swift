import CSystemd  // its headers bring timespec
import Glibc

/// The standard process metrics, read from /proc when asked.
enum ProcessMetrics {
    static func write(to page: inout MetricsPage) {
        var used = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used)
        let cpu = Double(used.tv_sec) + Double(used.tv_nsec) * 1e-9
        page.header("process_cpu_seconds_total", "counter", "Processor time used.")
        page.line("process_cpu_seconds_total", "", cpu)
        page.gauge("process_resident_memory_bytes", "Resident memory.", residentBytes)
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        page.gauge("process_open_fds", "Open descriptors.", openDescriptors())
        page.gauge("process_max_fds", "Most descriptors.", limit.rlim_cur)
        let fields = text(of: "/proc/self/stat").split(separator: ")").last?.split(separator: " ") ?? []
        page.gauge("process_threads", "Threads.", fields.count > 17 ? String(fields[17]) : "0")
        page.gauge("process_start_time_seconds", "Start, since 1970.", startTime(fields))
    }

    static var residentBytes: Int {
        let statm = text(of: "/proc/self/statm").split(separator: " ")
        return statm.count > 1 ? (Int(statm[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE)) : 0
    }

    private static func startTime(_ fields: [Substring]) -> Double {
        let boot = text(of: "/proc/stat").split(separator: "\n").first { $0.hasPrefix("btime ") }
        let bootSeconds = boot.flatMap { Double($0.dropFirst("btime ".count)) } ?? 0
        let ticks = fields.count > 19 ? Double(fields[19]) ?? 0 : 0
        return bootSeconds + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private static func openDescriptors() -> Int {
        guard let folder = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        return max(count - 3, 0)  // without ".", ".." and the folder itself
    }

    private static func text(of path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 16_384)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
