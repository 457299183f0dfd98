# SPDX-License-Identifier: Apache-2.0
# Shared by collect-syscalls and compile-syscalls: the grammar of one rule,
#   <syscall>[(<argument rule>, ...)]: <reason>
# parse_rule() sets rule_name, rule_num, rule_arg[], rule_mask[], rule_value[]
# (C expressions, mask "" = all bits), rule_reason, and returns "" or what is
# wrong.

function trim(s)
{
	gsub(/^[ \t]+|[ \t]+$/, "", s)
	gsub(/[ \t]+/, " ", s)
	return s
}

function parse_argument(text,    at)
{
	text = trim(text)
	if (text !~ /^[0-5](&.+)?==.+$/)
		return "argument rule \"" text "\" is not " \
		       "<index>==<value> or <index>&<mask>==<value>"
	at = index(text, "==")
	rule_num++
	rule_arg[rule_num] = substr(text, 1, 1)
	rule_mask[rule_num] = substr(text, 3, at - 3)
	if (substr(text, 2, 1) != "&")
		rule_mask[rule_num] = ""
	rule_value[rule_num] = trim(substr(text, at + 2))
	return ""
}

function parse_rule(text,    i, c, depth, start, wrong)
{
	rule_num = 0
	text = trim(text)
	if (!match(text, /^[a-z_][a-z0-9_]*/))
		return "no system call name"
	rule_name = substr(text, 1, RLENGTH)
	text = substr(text, RLENGTH + 1)
	if (substr(text, 1, 1) == "(") {
		depth = 0
		start = 2
		for (i = 1; i <= length(text); i++) {
			c = substr(text, i, 1)
			if (c == "(")
				depth++
			if (c == ")")
				depth--
			if (depth == 0 || (depth == 1 && c == ",")) {
				wrong = parse_argument(substr(text, start,
							      i - start))
				if (wrong != "")
					return wrong
				start = i + 1
			}
			if (depth == 0)
				break
		}
		if (depth != 0)
			return "parenthesis not closed"
		text = substr(text, i + 1)
	}
	if (substr(text, 1, 1) != ":")
		return "no \": <reason>\" after " rule_name
	rule_reason = trim(substr(text, 2))
	if (rule_reason == "")
		return "no reason for " rule_name
	if (rule_name ~ /^(ioctl|mmap|mprotect|madvise|prctl|fcntl|socket|clone)$/ &&
	    rule_num == 0)
		return rule_name " needs an argument rule"
	if (rule_name ~ /^(clone3|execve|execveat|io_uring_setup|ptrace|bpf)$/)
		return rule_name " is never allowed"
	return ""
}

function format_rule(    i, text)
{
	text = rule_name
	for (i = 1; i <= rule_num; i++) {
		text = text (i == 1 ? "(" : ", ") rule_arg[i]
		if (rule_mask[i] != "")
			text = text "&" rule_mask[i]
		text = text "==" rule_value[i]
	}
	return text (rule_num ? ")" : "") ": " rule_reason
}
