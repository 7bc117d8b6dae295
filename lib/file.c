// SPDX-License-Identifier: Apache-2.0
/* file.c - see file.h. */
#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"

int file_read(const char *path, char *buf, size_t size, size_t *ret,
              struct err *err)
{
	_cleanup_(closep) int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	size_t used = 0;

	if (fd < 0 || fstat(fd, &st))
		return err_set(err, -errno, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "not a file");
	while (used < size) {
		const ssize_t n = read(fd, buf + used, size - used);

		if (n < 0)
			return err_set(err, -errno, "%s", strerror(errno));
		if (!n)
			break;
		used += (size_t)n;
	}
	if (used == size)
		return err_set(err, -E2BIG, "larger than %zu bytes", size - 1);
	buf[used] = '\0';
	*ret = used;
	return 0;
}
