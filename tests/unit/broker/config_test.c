/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config.h"
#include "broker/option.h"
#include "common/base/num.h"

static struct config cfg;
static struct err e;

static void setup(void)
{
	config_init(&cfg);
	cfg.kernel = strdup("vmlinuz");
	memset(&e, 0, sizeof(e));
}

static void teardown(void)
{
	config_done(&cfg);
}

TestSuite(config, .init = setup, .fini = teardown);

/* The sentence must name the option, the value and what would do. */
static void expect_error(int r, const char *option, const char *value,
			 const char *advice)
{
	cr_assert_lt(r, 0);
	cr_assert(strstr(e.text, option), "no \"%s\" in: %s", option, e.text);
	cr_assert(strstr(e.text, value), "no \"%s\" in: %s", value, e.text);
	cr_assert(strstr(e.text, advice), "no \"%s\" in: %s", advice, e.text);
}

Test(config, defaults_are_those_of_the_manual)
{
	cr_assert_eq(config_check(&cfg, &e), 0, "%s", e.text);
	cr_assert_eq(cfg.cpus.boot, 1);
	cr_assert_eq(cfg.cpus.max, 1);
	cr_assert_eq(cfg.cpus.max_phys_bits, 46);
	cr_assert_eq(cfg.memory.size, 512 * MIB);
	cr_assert_eq(cfg.serial.mode, CONSOLE_NULL);
	cr_assert_eq(cfg.console.mode, CONSOLE_TTY);
	cr_assert_str_eq(cfg.rng_src, "/dev/urandom");
}

Test(config, kernel_is_needed)
{
	free(cfg.kernel);
	cfg.kernel = NULL;
	expect_error(config_check(&cfg, &e), "--kernel", "missing", "bzImage");
}

Test(config, cpus_take_a_bare_number_and_keys)
{
	cr_assert_eq(config_parse_cpus(&cfg, "4", &e), 0);
	cr_assert_eq(cfg.cpus.boot, 4);
	cr_assert_eq(config_parse_cpus(
			     &cfg,
			     "boot=2,max=8,topology=2:4:1:1,max_phys_bits=40,"
			     "affinity=[0@[0,2],1@[1-3]]",
			     &e),
		     0, "%s", e.text);
	cr_assert_eq(config_check(&cfg, &e), 0, "%s", e.text);
	cr_assert_eq(cfg.cpus.boot, 2);
	cr_assert_eq(cfg.cpus.max, 8);
	cr_assert_eq(cfg.cpus.threads_per_core, 2);
	cr_assert_eq(cfg.cpus.cores_per_die, 4);
	cr_assert_eq(cfg.cpus.num_affinity, 2);
	cr_assert_eq(cfg.cpus.affinity[0].num_cpus, 2);
	cr_assert_eq(cfg.cpus.affinity[0].cpus[1], 2);
	cr_assert_eq(cfg.cpus.affinity[1].index, 1);
	cr_assert_eq(cfg.cpus.affinity[1].num_cpus, 3);
	cr_assert_eq(cfg.cpus.affinity[1].cpus[2], 3);
}

Test(config, cpus_refuses_what_no_machine_has)
{
	static const struct {
		const char *value, *part, *advice;
	} bad[] = {
		{"boot=0", "boot=0", "1 to 254"},
		{"boot=255", "boot=255", "1 to 254"},
		{"0", "0", "1 to 254"},
		{"boot=two", "two", "whole number"},
		{"boot=-1", "-1", "whole number"},
		{"cores=2", "cores", "boot"},
		{"boot", "boot", "key=value"},
		{"boot=1,boot=2", "boot=2", "already"},
		{"topology=1:2", "1:2", "threads:cores"},
		{"topology=4:2:1:1", "4:2:1:1", "threads a core"},
		{"topology=0:2:1:1", "0:2:1:1", "at least 1"},
		{"affinity=[0@[0,2]", "[0@[0,2]", "match"},
		{"affinity=[0@[3-1]]", "3-1", "range"},
		{"affinity=[x@[1]]", "x@[1]", "INDEX@"},
		{"affinity=[0@[]]", "0@[]", "at least one"},
		{"affinity=[0@[0],0@[1]]", "0@[1]", "already"},
		{"", "", "empty"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		expect_error(config_parse_cpus(&cfg, bad[i].value, &e),
			     "--cpus", bad[i].part, bad[i].advice);
		config_done(&cfg);
		setup();
	}
}

Test(config, topology_must_make_max_cpus)
{
	cr_assert_eq(config_parse_cpus(&cfg, "boot=2,topology=1:3:1:1", &e), 0);
	expect_error(config_check(&cfg, &e), "--cpus", "1:3:1:1", "max=2");
}

Test(config, affinity_is_of_vcpus_that_there_are)
{
	cr_assert_eq(config_parse_cpus(&cfg, "boot=2,affinity=[5@[0]]", &e), 0);
	expect_error(config_check(&cfg, &e), "--cpus affinity", "vCPU 5",
		     "0 to 1");
}

Test(config, memory_sizes_have_suffixes)
{
	cr_assert_eq(config_parse_memory(&cfg, "size=3G,prefault=on", &e), 0);
	cr_assert_eq(cfg.memory.size, 3 * GIB);
	cr_assert(cfg.memory.prefault);
	cr_assert_eq(config_parse_memory(&cfg, "size=1048576K", &e), 0);
	cr_assert_eq(cfg.memory.size, GIB);
}

Test(config, memory_refuses_bad_sizes)
{
	static const char *const bad[] = {"size=1T",  "size=12Q",
					  "size=",    "size=-1M",
					  "size=1 M", "size=99999999999999G"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_error(config_parse_memory(&cfg, bad[i], &e), "--memory",
			     bad[i] + 5, "bytes");
	cr_assert_eq(config_parse_memory(&cfg, "size=3M", &e), 0);
	expect_error(config_check(&cfg, &e), "--memory size=", "3M", "16M");
	cr_assert_eq(config_parse_memory(&cfg, "size=33M", &e), 0);
	expect_error(config_check(&cfg, &e), "--memory size=", "33M",
		     "multiple");
	cr_assert_eq(config_parse_memory(&cfg, "size=64M,hugepage_size=2M", &e),
		     0);
	expect_error(config_check(&cfg, &e), "hugepage_size", "2M",
		     "hugepages=on");
}

Test(config, disk_keys_and_default_ids)
{
	cr_assert_eq(config_parse_cpus(&cfg, "boot=4", &e), 0);
	cr_assert_eq(config_add_disk(&cfg,
				     "path=\"a,b.img\",readonly=on,"
				     "num_queues=4,queue_size=256,serial=abc",
				     &e),
		     0, "%s", e.text);
	cr_assert_eq(config_add_net(&cfg, "tap=t0", &e), 0, "%s", e.text);
	cr_assert_eq(config_add_disk(&cfg, "path=b,id=data", &e), 0);
	cr_assert_eq(config_check(&cfg, &e), 0, "%s", e.text);
	cr_assert_str_eq(cfg.disks[0].path, "a,b.img");
	cr_assert(cfg.disks[0].readonly);
	cr_assert_eq(cfg.disks[0].queue_size, 256);
	cr_assert_str_eq(cfg.disks[0].id, "_disk0");
	cr_assert_str_eq(cfg.disks[1].id, "data");
	cr_assert_str_eq(cfg.nets[0].id, "_net1");
}

Test(config, disk_errors)
{
	static const struct {
		const char *value, *part, *advice;
	} bad[] = {
		{"readonly=on", "readonly", "path=FILE"},
		{"path=", "path=", "1 to"},
		{"path=a,readonly=yes", "yes", "on, off"},
		{"path=a,queue_size=100", "100", "power of two"},
		{"path=a,serial=123456789012345678901", "serial", "20"},
		{"path=a,size=1", "size", "readonly"},
		{"path=a,", "\"\"", "key=value"},
		{"path=a,,direct=on", "\"\"", "key=value"},
		{"a.img", "a.img", "path"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		expect_error(config_add_disk(&cfg, bad[i].value, &e), "--disk",
			     bad[i].part, bad[i].advice);
		config_done(&cfg);
		setup();
	}
	cr_assert_eq(config_add_disk(&cfg, "path=a,num_queues=2", &e), 0);
	expect_error(config_check(&cfg, &e), "--disk", "num_queues=2",
		     "at most 1");
}

Test(config, ids_are_unique_and_not_reserved)
{
	cr_assert_eq(config_add_disk(&cfg, "path=a,id=x", &e), 0);
	cr_assert_eq(config_add_net(&cfg, "tap=,id=x", &e), 0);
	expect_error(config_check(&cfg, &e), "--disk id=x", "2 devices",
		     "differ");
	free(cfg.nets[0].id);
	cfg.nets[0].id = strdup("__rng");
	expect_error(config_check(&cfg, &e), "--net id=__rng", "__",
		     "reserved");
}

Test(config, net_keys)
{
	cr_assert_eq(config_parse_cpus(&cfg, "boot=2", &e), 0);
	cr_assert_eq(config_add_net(&cfg,
				    "tap=,mac=52:54:00:12:34:56,"
				    "ip=192.168.9.1,mask=255.255.255.0,"
				    "mtu=9000,num_queues=4",
				    &e),
		     0, "%s", e.text);
	cr_assert_eq(config_add_net(&cfg, "fd=[5,6]", &e), 0, "%s", e.text);
	cr_assert_eq(config_check(&cfg, &e), 0, "%s", e.text);
	cr_assert_null(cfg.nets[0].tap);
	cr_assert(cfg.nets[0].has_mac);
	cr_assert_eq(cfg.nets[0].mac[5], 0x56);
	cr_assert_eq(cfg.nets[0].mtu, 9000);
	cr_assert_eq(cfg.nets[1].num_queues, 4);
	cr_assert_eq(cfg.nets[1].fds[1], 6);
}

Test(config, net_errors)
{
	static const struct {
		const char *value, *part, *advice;
	} bad[] = {
		{"tap=aaaaaaaaaaaaaaaa", "tap", "15 characters"},
		{"mac=52:54:00:12:34", "mac", "six bytes"},
		{"mac=53:54:00:12:34:56", "mac=53:54:00:12:34:56", "even"},
		{"mac=00:00:00:00:00:00", "mac=00:00:00:00:00:00", "give one"},
		{"host_mac=01:00:5e:00:00:01", "host_mac=01:", "even"},
		{"ip=10.0.0.1", "ip=10.0.0.1", "mask="},
		{"mask=255.0.0.0", "mask=255.0.0.0", "ip="},
		{"ip=fd00::1,mask=255.0.0.0", "mask=255", "ffff:"},
		{"ip=10.0.0,mask=255.0.0.0", "10.0.0", "IPv4"},
		{"mtu=100", "100", "1280"},
		{"num_queues=3", "3", "even"},
		{"fd=[1]", "1", "above 2"},
		{"fd=[]", "fd=[]", "[3,4]"},
		{"fd=[5,5]", "[5,5]", "twice"},
		{"fd=5,tap=x", "tap=x", "not both"},
		{"fd=[5,6],num_queues=2", "num_queues=2", "4"},
		{"offload_csum=off", "offload_csum", "offload_tso=off"},
		{"backend=slirp", "slirp", "passt"},
		{"backend=passt,tap=x", "passt", "backend=tap"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		expect_error(config_add_net(&cfg, bad[i].value, &e), "--net",
			     bad[i].part, bad[i].advice);
		config_done(&cfg);
		setup();
	}
}

Test(config, console_modes)
{
	struct config_console *c = &cfg.serial;

	cr_assert_eq(config_parse_console(c, "--serial", "pty", &e), 0);
	cr_assert_eq(c->mode, CONSOLE_PTY);
	cr_assert_eq(
		config_parse_console(c, "--serial", "file=\"/tmp/a,b\"", &e),
		0);
	cr_assert_eq(c->mode, CONSOLE_FILE);
	cr_assert_str_eq(c->path, "/tmp/a,b");
	cr_assert_eq(config_parse_console(c, "--serial", "socket=/x", &e), 0);
	cr_assert_eq(c->mode, CONSOLE_SOCKET);
	c = &cfg.debug_console;
	cr_assert_eq(config_parse_console(c, "--debug-console",
					  "file=/y,iobase=0x402", &e),
		     0, "%s", e.text);
	cr_assert_str_eq(c->path, "/y");
	cr_assert_eq(c->iobase, 0x402);
	cr_assert_eq(
		config_parse_console(c, "--debug-console", "file=\"/y,z\"", &e),
		0, "%s", e.text);
	cr_assert_str_eq(c->path, "/y,z");
	expect_error(
		config_parse_console(c, "--debug-console", "socket=/x", &e),
		"--debug-console", "socket=/x", "file=PATH");
	expect_error(config_parse_console(c, "--debug-console",
					  "null,iobase=0x10000", &e),
		     "--debug-console", "iobase=0x10000", "65535");
	expect_error(config_parse_console(c, "--console", "vga", &e),
		     "--console", "vga", "socket=PATH");
	expect_error(config_parse_console(c, "--console", "file=", &e),
		     "--console", "file=", "empty");
	expect_error(config_parse_console(c, "--console", "pty,x", &e),
		     "--console", "pty,x", "nothing may follow");
	expect_error(config_parse_console(c, "--console", "file=/x,id=y", &e),
		     "--console", "file=/x,id=y", "double quotes");
	expect_error(config_parse_console(c, "--console", "file=\"/x", &e),
		     "--console", "file=\"/x", "match");
}

Test(config, platform_texts)
{
	cr_assert_eq(config_parse_platform(
			     &cfg,
			     "system_serial_number=\"ds=nocloud;s=x,y\","
			     "uuid=01234567-89ab-cdef-0123-456789abcdef,"
			     "oem_strings=[a,\"b,c\"]",
			     &e),
		     0, "%s", e.text);
	cr_assert_str_eq(cfg.platform.serial_number, "ds=nocloud;s=x,y");
	cr_assert_eq(cfg.platform.num_oem_strings, 2);
	cr_assert_str_eq(cfg.platform.oem_strings[1], "b,c");
	expect_error(config_parse_platform(&cfg, "uuid=123", &e), "--platform",
		     "uuid=123", "UUID");
}

Test(config, api_socket_is_reserved)
{
	cfg.api_socket = strdup("/tmp/x");
	expect_error(config_check(&cfg, &e), "--api-socket", "/tmp/x",
		     "leave the option out");
}

Test(option, sizes)
{
	uint64_t v;

	cr_assert_eq(option_size("0", &v), 0);
	cr_assert_eq(option_size("17179869183G", &v), 0);
	cr_assert_eq(option_size("17179869184G", &v), -EINVAL);
	cr_assert_eq(option_size("18446744073709551616", &v), -EINVAL);
	cr_assert_eq(option_size("1M1", &v), -EINVAL);
	cr_assert_eq(option_size("m", &v), -EINVAL);
}

Test(option, size_texts)
{
	static const struct {
		uint64_t size;
		const char *text;
	} good[] = {
		{0, "0"},
		{1, "1"},
		{1000, "1000"},
		{3 * KIB, "3K"},
		{512 * MIB, "512M"},
		{1536 * MIB, "1536M"},
		{2048 * MIB, "2G"},
		{MIB + 1, "1048577"},
	};
	char text[OPTION_SIZE_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		cr_assert_str_eq(option_size_text(good[i].size, text),
				 good[i].text);
}
