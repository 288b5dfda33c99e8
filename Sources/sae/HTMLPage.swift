import Glibc

/// Text for HTML, in elements and in quoted attributes.
func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        case "'": result += "&#39;"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}

/// A coordinate, to a hundredth.
func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }

func cosine(_ angle: Double) -> Double { cos(angle) }
func sine(_ angle: Double) -> Double { sin(angle) }
func arcCosine(_ value: Double) -> Double { acos(value) }

/// A whole page: style inside, nothing from elsewhere, no scripts.
func page(title: String, command: String = "sae trace", body: String) -> String {
    """
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
    <title>\(escaped(printable(title))) – \(command)</title>
    <style>\(style)</style></head>
    <body><main>
    \(body)
    </main></body></html>

    """
}

private let style = """
    :root{color-scheme:light dark;--page:#faf9f6;--card:#fff;--ink:#1d2430;--soft:#6b7280;--line:#dcdad3;
    --along:#0f8b8d;--away:#c8553d;--block:#17627a}
    @media (prefers-color-scheme:dark){:root{--page:#12161c;--card:#1a2029;--ink:#e6e8eb;--soft:#98a2b0;--line:#323b47;
    --along:#3cc4bd;--away:#ef8368;--block:#4fb3cf}}
    *{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
    font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
    main{max-width:1120px;margin:0 auto;padding:32px 20px 48px}
    h1{font-size:27px;line-height:1.25;margin:0 0 6px;font-weight:600;letter-spacing:-.01em;overflow-wrap:anywhere}
    h1.long{font-size:16px;font-weight:500;line-height:1.5}h2{font-size:17px;margin:0 0 4px}h3{font-size:14px;margin:14px 0 4px}
    .facts,.note{color:var(--soft);margin:0 0 14px}.note{font-size:13px;max-width:80ch}
    section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px;margin:16px 0 0;min-width:0;
    overflow-x:auto}
    .columns{display:grid;grid-template-columns:minmax(260px,1fr) 2fr;gap:0 16px}
    @media (max-width:760px){.columns{display:block}main{padding:20px 10px 32px}section{padding:14px}h1{font-size:22px}svg.wide{min-width:640px}}
    svg{display:block;width:100%;height:auto}svg.fan{max-width:250px}
    svg text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:var(--ink)}
    svg .value{fill:var(--soft);paint-order:stroke;stroke:var(--card);stroke-width:3px}.block{fill:var(--block)}.unit{stroke:var(--soft);stroke-dasharray:2 4;opacity:.6}
    .base{stroke:var(--line)}.axis,.rim{stroke:var(--line);fill:none}.ray{stroke:var(--along);stroke-width:2.5}
    .tip{fill:var(--along)}path.along{stroke:var(--along);fill:none}path.away{stroke:var(--away);fill:none}
    table{border-collapse:collapse;width:100%;font-size:13px}th{font-weight:500;color:var(--soft);text-align:left}
    th,td{padding:3px 8px 3px 0;border-bottom:1px solid var(--line)}tr:last-child td{border-bottom:0}
    .n{text-align:right;font-variant-numeric:tabular-nums}.bar{position:relative;width:34%;height:20px}
    .bar i{position:absolute;top:5px;height:12px;border-radius:2px}i.along{background:var(--along)}i.away{background:var(--away)}
    .causes{color:var(--soft);padding-left:12px}.reverted,.outbid,.waiting{color:var(--soft)}
    tr.committed td:last-child{color:var(--along)}summary{cursor:pointer}pre{overflow:auto;max-height:420px;font-size:12px}
    .lines{fill:none;stroke-width:1.6}.share{display:flex;height:22px;border-radius:6px;overflow:hidden;margin:6px 0 12px}
    .key{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}.tick{font-size:10px}td.said{overflow-wrap:anywhere}
    .story{border-top:1px solid var(--line);padding:10px 0 2px}.story b{font-weight:600}.up{color:var(--along)}.down{color:var(--away)}
    .grid td{vertical-align:middle}.pair{display:inline-block;padding:0 4px;border-radius:4px}
    """
