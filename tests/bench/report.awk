# SPDX-License-Identifier: Apache-2.0
#
# Lines of `inside` -> a table, or JSON. Variables: json, colour, where (what
# ran it, a line of text). Prints "MISSED" lines to the file `missed`.

function sorted(list, out,    n, i, j, t) {
	n = split(list, out, " ")
	for (i = 2; i <= n; i++) {
		t = out[i] + 0
		for (j = i - 1; j > 0 && out[j] + 0 > t; j--)
			out[j + 1] = out[j]
		out[j + 1] = t
	}
	return n
}

# Nearest rank.
function quantile(list, q,    v, n, k) {
	n = sorted(list, v)
	k = int(q * n)
	if (k < q * n)
		k++
	return v[k < 1 ? 1 : k] + 0
}

# Runs are taken in turn: run i of one stands beside run i of the other.
function paired(test, a, b, what,    i, list) {
	for (i = 1; i <= runs[test]; i++)
		if ((test, a, i, what) in value && value[test, b, i, what] > 0)
			list = list " " value[test, a, i, what] / value[test, b, i, what]
	return list
}

function paint(text, good) {
	return colour ? sprintf("\033[%dm%s\033[0m", good ? 32 : 31, text) : text
}

function note(test, what, is, target, unit, margin) {
	targets[test, what] = target
	if (is > target * margin)
		printf "MISSED %s: %s is %.2f%s, the target %.2f%s\n", test, what,
			is, unit, target, unit >missed
}

function ms(us) {
	return sprintf("%9.2f", us / 1000)
}

$1 == "time" {
	if (!(($2, $3) in seen_time)) {
		seen_time[$2, $3] = 1
		if (!($2 in vmms))
			order[++tests] = $2
		vmms[$2] = vmms[$2] " " $3
	}
	if ($4 + 0 > runs[$2])
		runs[$2] = $4 + 0
	value[$2, $3, $4, "mark"] = $6
	value[$2, $3, $4, "end"] = $7
	value[$2, $3, $4, "cpu"] = $8
	all[$2, $3, "mark"] = all[$2, $3, "mark"] " " $6
	all[$2, $3, "end"] = all[$2, $3, "end"] " " $7
	all[$2, $3, "cpu"] = all[$2, $3, "cpu"] " " $8
}

$1 == "memory" {
	if (!(($2, $3) in total)) {
		if (!($2 in vmms))
			order[++tests] = $2
		vmms[$2] = vmms[$2] " " $3
		is_memory[$2] = 1
	}
	total[$2, $3] += $6
	guest[$2, $3] += $9
	anonymous[$2, $3] += $7
	processes[$2, $3] = processes[$2, $3] "\n" $5 " " $6 " " $7 " " $8
}

function time_table(test,    n, v, i, k, what, whats, list, r, target, text) {
	n = split(vmms[test], v, " ")
	split("mark end cpu", whats, " ")
	printf "\n%s: %d runs of each, in turn; milliseconds\n", test, runs[test]
	printf "  %-12s %-22s %9s %9s %9s %9s %9s\n", "", "", "min", "p25", "median", "p99", "max"
	for (i = 1; i <= n; i++)
		for (k = 1; k <= 3; k++) {
			what = whats[k]
			list = all[test, v[i], what]
			printf "  %-12s %-22s %s %s %s %s %s\n", k == 1 ? v[i] : "",
				label(test, what), ms(quantile(list, 0)), ms(quantile(list, 0.25)),
				ms(quantile(list, 0.5)), ms(quantile(list, 0.99)), ms(quantile(list, 1))
		}
	target = test == "startup" ? 0.5 : 1
	for (i = 2; i <= n; i++) {
		list = paired(test, v[1], v[i], "mark")
		r = quantile(list, 0.5)
		text = sprintf("%.2f", r)
		printf "  %s / %s: %s (run by run %.2f to %.2f)", v[1], v[i],
			v[i] ~ /^microvm/ ? paint(text, r <= target) : text,
			quantile(list, 0.1), quantile(list, 0.9)
		printf ", processor time %.2f", quantile(paired(test, v[1], v[i], "cpu"), 0.5)
		if (v[i] ~ /^microvm/) {
			printf "; target %.2f %s", target, r <= target ? "met" : "missed"
			note(test, "the ratio to " v[i], r, 1, "", 1.1)
		}
		printf "\n"
	}
}

function label(test, what) {
	if (what == "mark")
		return test == "linux" ? "to user space" : "to first instruction"
	return what == "end" ? "to the end" : "processor time"
}

function memory_table(test,    n, v, i, p, k, lines, text, mib) {
	n = split(vmms[test], v, " ")
	printf "\n%s: proportional set size without guest memory; KiB\n", test
	printf "  %-12s %-18s %9s %9s %9s\n", "", "", "PSS", "anonymous", "of files"
	for (i = 1; i <= n; i++) {
		lines = split(substr(processes[test, v[i]], 2), p, "\n")
		for (k = 1; k <= lines; k++) {
			split(p[k], f, " ")
			printf "  %-12s %-18s %9d %9d %9d\n", k == 1 ? v[i] : "", f[1], f[2], f[3], f[4]
		}
		mib = total[test, v[i]] / 1024
		text = sprintf("%.2f MiB", mib)
		printf "  %-12s %-18s %9d %9d %9d  = %s", "", "sum", total[test, v[i]],
			anonymous[test, v[i]], total[test, v[i]] - anonymous[test, v[i]],
			i == 1 ? paint(text, mib <= 5) : text
		if (i == 1) {
			printf "; target 5 MiB %s", mib <= 5 ? "met" : "missed"
			note(test, "the family's overhead", mib, 5, " MiB", 1.05)
		}
		printf "; guest memory %d KiB\n", guest[test, v[i]]
	}
}

function json_time(test,    n, v, i, k, whats, list) {
	n = split(vmms[test], v, " ")
	split("mark end cpu", whats, " ")
	printf "\"%s\": {\"runs\": %d, \"unit\": \"us\"", test, runs[test]
	for (i = 1; i <= n; i++) {
		printf ",\n  \"%s\": {", v[i]
		for (k = 1; k <= 3; k++) {
			list = all[test, v[i], whats[k]]
			printf "%s\"%s\": {\"min\": %d, \"p25\": %d, \"median\": %d, \"p99\": %d, \"max\": %d}",
				(k > 1 ? ", " : ""), whats[k], quantile(list, 0), quantile(list, 0.25),
				quantile(list, 0.5), quantile(list, 0.99), quantile(list, 1)
		}
		printf "}"
	}
	printf ",\n  \"ratios\": {"
	for (i = 2; i <= n; i++) {
		list = paired(test, v[1], v[i], "mark")
		printf "%s\"%s\": {\"median\": %.4f, \"p10\": %.4f, \"p90\": %.4f, \"cpu\": %.4f}",
			(i > 2 ? ", " : ""), v[i], quantile(list, 0.5), quantile(list, 0.1), quantile(list, 0.9),
			quantile(paired(test, v[1], v[i], "cpu"), 0.5)
		if (v[i] ~ /^microvm/)
			note(test, "the ratio to " v[i], quantile(list, 0.5), 1, "", 1.1)
	}
	printf "}}"
}

function json_memory(test,    n, v, i, p, k, lines) {
	n = split(vmms[test], v, " ")
	printf "\"%s\": {\"unit\": \"KiB\"", test
	for (i = 1; i <= n; i++) {
		printf ",\n  \"%s\": {\"pss\": %d, \"anonymous\": %d, \"guest\": %d, \"processes\": [", v[i],
			total[test, v[i]], anonymous[test, v[i]], guest[test, v[i]]
		lines = split(substr(processes[test, v[i]], 2), p, "\n")
		for (k = 1; k <= lines; k++) {
			split(p[k], f, " ")
			printf "%s{\"name\": \"%s\", \"pss\": %d, \"anonymous\": %d, \"files\": %d}",
				(k > 1 ? ", " : ""), f[1], f[2], f[3], f[4]
		}
		printf "]}"
		if (i == 1)
			note(test, "the family's overhead", total[test, v[i]] / 1024, 5, " MiB", 1.05)
	}
	printf "}"
}

END {
	if (json)
		printf "{"
	else
		printf "%s\n", where
	for (t = 1; t <= tests; t++) {
		if (json) {
			if (t > 1)
				printf ",\n "
			if (order[t] in is_memory)
				json_memory(order[t])
			else
				json_time(order[t])
		} else if (order[t] in is_memory) {
			memory_table(order[t])
		} else {
			time_table(order[t])
		}
	}
	if (json)
		printf "}\n"
}
