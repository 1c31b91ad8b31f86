# Draws seconds over the number of VMs as SVG. Input: a line for each point, "zs 10 1.5" or "shell 1 23".
function x(n) { return left + (width - left - 20) * log(n) / log(most) }
function y(s) { return height - 50 - (height - 80) * (log(s) - log(low)) / (log(high) - log(low)) }
function text(px, py, anchor, what) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", px, py, anchor, what
}
{
    count[$1]++
    vms[$1, count[$1]] = $2
    seconds[$1, count[$1]] = $3
    if ($2 > most) most = $2
    if (!high || $3 > high) high = $3
    if (!low || $3 < low) low = $3
}
END {
    width = 640; height = 400; left = 70
    if (most < 2) most = 2
    low /= 1.5; high *= 1.5
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", width, height
    print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    text(width / 2, 20, "middle", "Time to make VMs: zs and the seed's shell script")
    text(width / 2, height - 10, "middle", "number of VMs")
    for (step = 0.01; step <= 100000; step *= 10) {
        if (step < low || step > high) continue
        printf "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", left, width - 20, y(step), y(step)
        text(left - 6, y(step) + 4, "end", step " s")
    }
    colour["zs"] = "#06c"; colour["shell"] = "#c30"
    for (who in count) {
        points = ""
        for (i = 1; i <= count[who]; i++) {
            px = x(vms[who, i]); py = y(seconds[who, i])
            points = points sprintf("%.1f,%.1f ", px, py)
            printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", px, py, colour[who]
            if (who == "zs") text(px, height - 34, "middle", vms[who, i])
        }
        printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\"/>\n", points, colour[who]
        printf "<g fill=\"%s\">", colour[who]
        text(px - 8, py - 8, "end", who)
        print "</g>"
    }
    print "</svg>"
}
