/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios terminal_saved;
static volatile sig_atomic_t terminal_is_raw;

void terminal_restore(void)
{
	if (!terminal_is_raw)
		return;
	terminal_is_raw = 0;
	/* From a background job tcsetattr() would stop us with SIGTTOU. */
	signal(SIGTTOU, SIG_IGN);
	tcsetattr(STDIN_FILENO, TCSANOW, &terminal_saved);
}

static void terminal_fatal(int signo)
{
	terminal_restore();
	signal(signo, SIG_DFL);
	raise(signo);
}

int terminal_raw(struct err *e)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE,
				    SIGABRT, SIGSYS, SIGQUIT};
	static bool registered;
	struct termios raw;

	if (terminal_is_raw || !isatty(STDIN_FILENO))
		return 0;
	if (tcgetattr(STDIN_FILENO, &terminal_saved) < 0)
		return err_errno(e, "cannot read the terminal's mode");
	if (!registered) {
		if (atexit(terminal_restore))
			return err_set(e, -ENOMEM,
				       "cannot register the "
				       "terminal's restoration");
		for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
			signal(fatal[i], terminal_fatal);
		registered = true;
	}
	raw = terminal_saved;
	cfmakeraw(&raw);
	/* The log shares the screen: keep "\n" a new line. */
	raw.c_oflag |= OPOST | ONLCR;
	terminal_is_raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0) {
		terminal_is_raw = 0;
		return err_errno(e, "cannot put the terminal in raw mode");
	}
	return 0;
}

void terminal_size(uint32_t *ret_cols, uint32_t *ret_rows)
{
	struct winsize ws;

	*ret_cols = 0;
	*ret_rows = 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0) {
		*ret_cols = ws.ws_col;
		*ret_rows = ws.ws_row;
	}
}
