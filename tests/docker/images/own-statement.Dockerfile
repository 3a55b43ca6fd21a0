# an entrypoint that asks the temporary server for more than the database
FROM postgres:17
RUN sed -E -i -e '2i more() { psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<<"CREATE TABLE more (); SELECT 1"; }' \
    -e 's/^([[:space:]]+)(create_database|docker_setup_db)$/\1\2; more/' "$(command -v docker-entrypoint.sh)"
