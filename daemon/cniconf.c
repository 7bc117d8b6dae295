// SPDX-License-Identifier: Apache-2.0
/* cniconf.c - see cniconf.h. */
#include "daemon/cniconf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni/wire.h"
#include "lib/util.h"

#define CONF_MAX 1024

static void conf_text(const char *run_dir, char ret[CONF_MAX])
{
	char socket[300];

	snprintf(socket, sizeof(socket), "%s/stile.sock", run_dir);
	snprintf(ret, CONF_MAX,
	         "{\n"
	         "  \"cniVersion\": \"1.0.0\",\n" /* containerd 1.6 knows no
	                                             other */
	         "  \"cniVersions\": [\"0.4.0\", \"1.0.0\", \"1.1.0\"],\n"
	         "  \"name\": \"stile\",\n"
	         "  \"plugins\": [\n"
	         "    { \"type\": \"stile-cni\"%s%s%s }\n"
	         "  ]\n"
	         "}\n",
	         strcmp(socket, WIRE_SOCKET) != 0 ? ", \"socket\": \"" : "",
	         strcmp(socket, WIRE_SOCKET) != 0 ? socket : "",
	         strcmp(socket, WIRE_SOCKET) != 0 ? "\"" : "");
}

static bool file_holds(int dir_fd, const char *name, const char *text)
{
	_cleanup_(closep) int fd =
		openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char have[CONF_MAX + 1];
	const ssize_t n = fd < 0 ? -1 : read(fd, have, sizeof(have));

	return n == (ssize_t)strlen(text) && !memcmp(have, text, (size_t)n);
}

static int file_fill(int fd, const char *text)
{
	const size_t len = strlen(text);
	const ssize_t n = write(fd, text, len);

	if (n < 0)
		return -errno;
	if ((size_t)n != len)
		return -ENOSPC;
	return fchmod(fd, 0644) || fsync(fd) ? -errno : 0;
}

/* Whole or not at all, also when the power fails: the runtime reads no file
 * whose name begins with a dot. */
static int file_put(int dir_fd, const char *name, const char *text)
{
	_cleanup_(closep) int fd = -1;
	char tmp[64];
	int r;

	snprintf(tmp, sizeof(tmp), ".%s.new", name);
	(void)unlinkat(dir_fd, tmp, 0);
	fd = openat(dir_fd, tmp,
	            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = file_fill(fd, text);
	if (!r && renameat(dir_fd, tmp, dir_fd, name))
		r = -errno;
	if (r)
		(void)unlinkat(dir_fd, tmp, 0);
	else
		(void)fsync(dir_fd);
	return r;
}

static int dir_open(const char *path, int *ret)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Programs that are not root read there too, whatever our umask is. */
	if (fd < 0 && errno == ENOENT && !mkdir(path, 0755)) {
		(void)chmod(path, 0755);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	*ret = fd;
	return 0;
}

/* Where it will be, before it is there. */
static int note_put(const char *state_dir, const char *dir)
{
	_cleanup_(closep) int fd = -1;
	char path[CONF_MAX];
	int r = dir_open(state_dir, &fd);

	snprintf(path, sizeof(path), "%s/%s\n", dir, CNICONF_NAME);
	if (r || file_holds(fd, CNICONF_NOTE, path))
		return r;
	return file_put(fd, CNICONF_NOTE, path);
}

int cniconf_write(const char *dir, const char *state_dir, const char *run_dir,
                  struct err *err)
{
	_cleanup_(closep) int fd = -1;
	char text[CONF_MAX];
	int r = note_put(state_dir, dir);

	if (r)
		return err_set(err, r, "%s/%s: %s", state_dir, CNICONF_NOTE,
		               strerror(-r));
	conf_text(run_dir, text);
	r = dir_open(dir, &fd);
	if (!r && file_holds(fd, CNICONF_NAME, text))
		return 0;
	if (!r)
		r = file_put(fd, CNICONF_NAME, text);
	return r ? err_set(err, r, "%s/%s: %s", dir, CNICONF_NAME, strerror(-r))
	         : 1;
}
