# the image's own program, and not its PGDATA, decides where the data is
FROM postgres:17
RUN printf '%s\n' '#!/bin/sh' 'export PGDATA=/srv/pg' 'exec docker-entrypoint.sh "$@"' >/entry.sh && chmod 755 /entry.sh
ENTRYPOINT ["/entry.sh"]
CMD ["postgres"]
