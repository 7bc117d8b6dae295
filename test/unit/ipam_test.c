// SPDX-License-Identifier: Apache-2.0
#include "daemon/ipam.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/util.h"
#include "test/test.h"

#define SECOND 1000000000ull

static struct ipam open_cidr(const char *text)
{
	struct prefix cidr;
	struct ipam ipam;
	struct err err = {};

	assert_int_equal(prefix_parse(text, &cidr), 0);
	if (ipam_open(&ipam, &cidr, &err))
		fail_msg("%s: %s", text, err.text);
	return ipam;
}

static void ranges_leave_out_network_first_and_last(void **state)
{
	static const struct {
		const char *cidr, *first, *last; /* NULL: refused */
		uint32_t size;
	} cases[] = {
		{"10.0.0.0/24",        "10.0.0.2",         "10.0.0.254",         253  },
		{"10.0.0.0/30",        "10.0.0.2",         "10.0.0.2",           1    },
		{"10.0.0.0/31",        NULL,               NULL,                 0    },
		{"10.0.0.0/32",        NULL,               NULL,                 0    },
		{"10.1.0.0/16",        "10.1.0.2",         "10.1.255.254",       65533},
		{"10.0.0.0/8",         "10.0.0.2",         "10.1.0.1",           65536},
		{"fd00::/120",         "fd00::2",          "fd00::fe",           253  },
		{"fd00::/64",          "fd00::2",          "fd00::1:1",          65536},
		{"fd00::/127",         NULL,               NULL,                 0    },
		{"2001:db8:8000::/33", "2001:db8:8000::2", "2001:db8:8000::1:1",
	         65536								},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[ADDR_TEXT_MAX];
		struct addr addr = {};
		struct prefix cidr;
		struct ipam ipam;
		struct err err = {};
		int r;

		assert_int_equal(prefix_parse(cases[i].cidr, &cidr), 0);
		r = ipam_open(&ipam, &cidr, &err);
		if (!cases[i].first) {
			if (r != -EINVAL || !err.text[0])
				fail_msg("%s: %d", cases[i].cidr, r);
			continue;
		}
		assert_int_equal(ipam.size, cases[i].size);
		assert_int_equal(ipam_alloc(&ipam, 1, &addr, &err), 0);
		assert_string_equal(addr_format(&addr, text), cases[i].first);
		for (uint32_t n = 1; n < cases[i].size; n++)
			assert_int_equal(ipam_alloc(&ipam, 1, &addr, &err), 0);
		assert_string_equal(addr_format(&addr, text), cases[i].last);
		assert_int_equal(ipam_alloc(&ipam, 1, &addr, &err), -ENOSPC);
		ipam_close(&ipam);
	}
}

static void freed_addresses_rest(void **state)
{
	struct ipam ipam = open_cidr("10.0.0.0/29"); /* .2 to .6 */
	struct addr addr[5], again;
	struct err err = {};

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(ipam_alloc(&ipam, SECOND, &addr[i], &err), 0);
	assert_false(ipam_has_free(&ipam, 100 * SECOND));
	ipam_free(&ipam, &addr[3], 2 * SECOND);
	assert_false(ipam_has_free(&ipam, 31 * SECOND));
	assert_true(ipam_has_free(&ipam, 32 * SECOND));
	ipam_free(&ipam, &addr[1], 3 * SECOND);
	assert_int_equal(ipam.used, 3);
	assert_int_equal(ipam_alloc(&ipam, 31 * SECOND, &again, &err), -ENOSPC);
	assert_string_equal(err.text,
	                    "no address is free: 3 of 5 in use, the rest "
	                    "freed less than 30 s ago");
	assert_int_equal(ipam_alloc(&ipam, 32 * SECOND, &again, &err), 0);
	assert_int_equal(addr_compare(&again, &addr[3]), 0);
	assert_int_equal(ipam_alloc(&ipam, 33 * SECOND, &again, &err), 0);
	assert_int_equal(addr_compare(&again, &addr[1]), 0);
	ipam_close(&ipam);
}

static void addresses_go_round(void **state)
{
	struct ipam ipam = open_cidr("10.0.0.0/24");
	struct addr first, addr;
	struct err err = {};

	(void)state;
	assert_int_equal(ipam_alloc(&ipam, 1, &first, &err), 0);
	ipam_free(&ipam, &first, 1);
	for (int i = 0; i < 252; i++) {
		assert_int_equal(ipam_alloc(&ipam, 100 * SECOND, &addr, &err),
		                 0);
		assert_int_not_equal(addr_compare(&addr, &first), 0);
	}
	assert_int_equal(ipam_alloc(&ipam, 100 * SECOND, &addr, &err), 0);
	assert_int_equal(addr_compare(&addr, &first), 0);
	ipam_close(&ipam);
}

static void taken_addresses_are_not_given(void **state)
{
	static const struct {
		const char *addr;
		int r;
	} cases[] = {
		{"10.0.0.2",  0      },
                {"10.0.0.4",  0      },
		{"10.0.0.4",  -EEXIST},
                {"10.0.0.0",  -ERANGE},
		{"10.0.0.1",  -ERANGE},
                {"10.0.0.7",  -ERANGE},
		{"10.0.0.10", -ERANGE},
                {"10.1.0.2",  -ERANGE},
		{"::a00:2",   -ERANGE},
                {"fd00::2",   -ERANGE},
		{"11.0.0.2",  -ERANGE},
	};
	struct ipam ipam = open_cidr("10.0.0.0/29");
	char text[ADDR_TEXT_MAX];
	struct addr addr;
	struct err err = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r;

		assert_int_equal(addr_parse(cases[i].addr, &addr), 0);
		r = ipam_take(&ipam, &addr);
		if (r != cases[i].r)
			fail_msg("%s: %d", cases[i].addr, r);
	}
	/* Beyond the highest first: what was freed before a start rests. */
	assert_int_equal(ipam_alloc(&ipam, 1, &addr, &err), 0);
	assert_string_equal(addr_format(&addr, text), "10.0.0.5");
	assert_int_equal(ipam_alloc(&ipam, 1, &addr, &err), 0);
	assert_int_equal(ipam_alloc(&ipam, 1, &addr, &err), 0);
	assert_string_equal(addr_format(&addr, text), "10.0.0.3");
	assert_int_equal(ipam_alloc(&ipam, 1, &addr, &err), -ENOSPC);
	ipam_close(&ipam);
}

static void a_wide_range_refuses_addresses_above_it(void **state)
{
	struct ipam ipam = open_cidr("fd00::/48");
	struct addr addr;

	(void)state;
	assert_int_equal(addr_parse("fd00:0:0:1::2", &addr), 0);
	assert_int_equal(ipam_take(&ipam, &addr), -ERANGE);
	assert_int_equal(addr_parse("fd00::2", &addr), 0);
	assert_int_equal(ipam_take(&ipam, &addr), 0);
	ipam_free(&ipam, &addr, 5);
	ipam_free(&ipam, &addr, 5); /* twice is once */
	assert_int_equal(ipam.used, 0);
	ipam_close(&ipam);
	ipam = open_cidr("fd00::/32");
	assert_int_equal(addr_parse("fd00:0:1::2", &addr), 0);
	assert_int_equal(ipam_take(&ipam, &addr), -ERANGE);
	ipam_close(&ipam);
}

/* No address is ever held twice, and none returns before its time. */
static void random_use_never_gives_twice(void **state)
{
	const unsigned seed = (unsigned)time(NULL);
	struct ipam ipam = open_cidr("10.0.0.0/26");
	uint64_t freed[64] = {}, now = SECOND;
	bool held[64] = {};

	(void)state;
	print_message("# seed %u\n", seed);
	srand(seed);
	for (int i = 0; i < 20000; i++) {
		struct addr addr;
		struct err err = {};
		int at = rand() % 64;

		now += (uint64_t)(rand() % 1000) * 1000000;
		if (held[at]) {
			addr = addr_add(&ipam.cidr.addr, (unsigned long)at);
			ipam_free(&ipam, &addr, now);
			held[at] = false;
			freed[at] = now;
			continue;
		}
		if (ipam_alloc(&ipam, now, &addr, &err))
			continue;
		at = addr.byte[15];
		if (held[at] || (freed[at] && now - freed[at] < 30 * SECOND))
			fail_msg("step %d: .%d", i, at);
		held[at] = true;
	}
	ipam_close(&ipam);
}

static struct ipam open_kept(const char *cidr, const char *dir, uint64_t now)
{
	struct ipam ipam = open_cidr(cidr);
	struct err err = {};

	if (ipam_keep(&ipam, dir, "ipam", now, &err))
		fail_msg("%s", err.text);
	return ipam;
}

/* A daemon ends and another goes on, with what the endpoints' files say. */
static void freed_addresses_rest_over_a_restart(void **state)
{
	char dir[] = "/tmp/ipam_testXXXXXX", path[64];
	struct addr kept, freed, addr;
	struct err err = {};
	struct ipam ipam;

	(void)state;
	assert_non_null(mkdtemp(dir));
	ipam = open_kept("10.0.0.0/29", dir, SECOND); /* .2 to .6 */
	assert_int_equal(ipam_alloc(&ipam, SECOND, &kept, &err), 0);
	assert_int_equal(ipam_alloc(&ipam, SECOND, &freed, &err), 0);
	ipam_free(&ipam, &freed, 100 * SECOND);
	ipam_close(&ipam);

	ipam = open_kept("10.0.0.0/29", dir, 101 * SECOND);
	assert_int_equal(ipam_take(&ipam, &kept), 0);
	for (int i = 0; i < 3; i++) { /* behind the last one, not at .3 */
		assert_int_equal(ipam_alloc(&ipam, 101 * SECOND, &addr, &err),
		                 0);
		assert_int_equal(addr.byte[15], 4 + i);
		ipam_free(&ipam, &addr, 50 * SECOND);
	}
	ipam_close(&ipam);

	ipam = open_kept("10.0.0.0/29", dir, 110 * SECOND);
	assert_int_equal(ipam_take(&ipam, &kept), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ipam_alloc(&ipam, 110 * SECOND, &addr, &err),
		                 0);
	assert_int_equal(ipam_alloc(&ipam, 129 * SECOND, &addr, &err), -ENOSPC);
	assert_int_equal(ipam_alloc(&ipam, 130 * SECOND, &addr, &err), 0);
	assert_int_equal(addr_compare(&addr, &freed), 0);
	ipam_close(&ipam);

	/* After a reboot the clock begins anew; another CIDR is another's. */
	ipam = open_kept("10.0.0.0/29", dir, 5 * SECOND);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ipam_alloc(&ipam, 5 * SECOND, &addr, &err), 0);
	ipam_close(&ipam);
	ipam = open_kept("10.0.1.0/29", dir, 131 * SECOND);
	assert_int_equal(ipam_alloc(&ipam, 131 * SECOND, &addr, &err), 0);
	assert_int_equal(addr.byte[15], 2);
	ipam_close(&ipam);
	snprintf(path, sizeof(path), "%s/ipam", dir);
	assert_int_equal(truncate(path, 41), 0); /* torn */
	ipam = open_kept("10.0.1.0/29", dir, 131 * SECOND);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ipam_alloc(&ipam, 131 * SECOND, &addr, &err),
		                 0);
	ipam_close(&ipam);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_leave_out_network_first_and_last),
		cmocka_unit_test(freed_addresses_rest),
		cmocka_unit_test(addresses_go_round),
		cmocka_unit_test(taken_addresses_are_not_given),
		cmocka_unit_test(a_wide_range_refuses_addresses_above_it),
		cmocka_unit_test(random_use_never_gives_twice),
		cmocka_unit_test(freed_addresses_rest_over_a_restart),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
