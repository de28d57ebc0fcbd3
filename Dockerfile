# docker build -t tunesmith . && docker run -p 7860:7860 -v tunesmith:/home/user/data tunesmith
#
# torch comes from pip's default index, with CUDA. For a smaller image without it, name an index of CPU builds:
# docker build --build-arg TORCH_INDEX=… -t tunesmith .
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 user
USER user
WORKDIR /home/user/app
ENV PATH=/home/user/.local/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    TUNESMITH_HOME=/home/user/data \
    TUNESMITH_CACHE=/home/user/data/cache

COPY --chown=user requirements.txt constraints.txt ./
ARG TORCH_INDEX=""
RUN if [ -n "$TORCH_INDEX" ]; then pip install --user --index-url "$TORCH_INDEX" -c constraints.txt torch; fi \
 && pip install --user -r requirements.txt -c constraints.txt
COPY --chown=user . .
# A volume that is mounted here takes over this folder's owner.
RUN mkdir -p /home/user/data

EXPOSE 7860
CMD ["python", "app.py", "--host", "0.0.0.0", "--port", "7860"]
