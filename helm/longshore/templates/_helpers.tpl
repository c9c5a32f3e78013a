{{- define "longshore.selector" -}}
app.kubernetes.io/name: longshore
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "longshore.labels" -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "longshore.publicUrl" -}}
{{- if .Values.publicUrl }}{{ .Values.publicUrl }}
{{- else if .Values.ingress.enabled }}{{ ternary "https" "http" (ne .Values.ingress.tlsSecret "") }}://{{ .Values.ingress.host }}
{{- end }}
{{- end }}

{{- /* What every process is told. `user` is its name on the bus. */ -}}
{{- define "longshore.env" -}}
- {name: LONGSHORE_DATA_DIR, value: /data}
- {name: LONGSHORE_NATS_URL, value: {{ .root.Values.nats.url | quote }}}
- {name: LONGSHORE_NATS_SEED, value: /run/longshore/{{ .user }}.nk}
- {name: LONGSHORE_EGRESS_ALLOW, value: {{ .root.Values.egressAllow | quote }}}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .root.Values.otlpEndpoint | quote }}}
{{- range $name, $value := .settings }}
- {name: LONGSHORE_{{ upper $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{- define "longshore.pod" -}}
automountServiceAccountToken: false
# Kubernetes would add variables named after the Services, and an unknown LONGSHORE_ name is refused.
enableServiceLinks: false
terminationGracePeriodSeconds: 60
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # Without it every start would walk through all files that are kept.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "longshore.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy | default "IfNotPresent" }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* `files` of the Secret, and nothing else of it. */ -}}
{{- define "longshore.volumes" -}}
- {name: tmp, emptyDir: {}}
- name: secret
  secret:
    secretName: {{ .root.Values.secret.name }}
    defaultMode: 0440
    items:
      {{- range .files }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
- name: data
  {{- if .data }}
  persistentVolumeClaim: {claimName: {{ .root.Values.data.existingClaim | default (printf "%s-data" .root.Release.Name) }}}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}

{{- define "longshore.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: secret, mountPath: /run/longshore, readOnly: true}
- {name: data, mountPath: /data}
{{- end }}
